"""hlbench: honest evaluation of dataset distillation and coresets, under hard labels first (arXiv 2604.18811)."""

__version__ = "0.1.0"
