"""Analyses of what was recorded and measured: numbers, figures and pages. Trains nothing, never imports torch."""
