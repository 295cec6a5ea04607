"""How the work is laid out on this machine. Nothing here may change a result beyond rounding (`tests/test_trainer.py`)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from harness.errors import EnvironmentProblem
from harness.protocols import Protocol
from harness.training.bf16 import emulated_autocast, multiplies_bf16

# Images/s (benchmarks/train_step.py: ConvNet-D4, 64 px, batch 256, DSA included) on two AVX512-BF16 cores: fp32 68, bf16
# 119, bf16 compiled in micro-batches of 32: 324, 16: 376, 8: 360 to 399, 4: 359; on one core of the two, 16: 189, 8: 198 to 216.
# A micro-batch of 8 keeps one layer's activations in the L2 cache.
CPU_MICRO_BATCH = 8
# Compiling takes 10 to 25 s, the time in which the uncompiled step sees two to three thousand images.
COMPILE_FROM_IMAGES = 10_000


@dataclass(frozen=True)
class Engine:
    """`micro_batch`: images per forward pass, gradients accumulated to the protocol's batch; 0 means the whole batch at once."""

    device: str
    micro_batch: int
    compiled: bool
    channels_last: bool
    threads: int
    precision: str

    @property
    def emulates_bf16(self) -> bool:
        return self.device == "cpu" and self.precision == "bf16-autocast" and not multiplies_bf16()

    @property
    def puts_channels_last(self) -> bool:
        # Emulated bf16 is faster with channels first (AVX2, one core). Images/s with channels last and first: ResNet-18, 32 px,
        # batch of 10: 40, 72; of 128: 119, 133; ConvNet-D4, 64 px, compiled: 35, 37. fp32 keeps its layout, and with it rounding.
        return self.channels_last and not self.emulates_bf16

    def as_record(self) -> dict[str, str | int | bool | None]:
        return asdict(self) | {"channels_last": self.puts_channels_last, "emulates_bf16": self.emulates_bf16}

    def autocast(self) -> AbstractContextManager:
        if self.emulates_bf16:
            return emulated_autocast()
        kind = self.device.split(":")[0]
        return torch.autocast(kind, torch.bfloat16, enabled=self.precision == "bf16-autocast")

    def compile(self, function: Callable) -> Callable:
        """`function` compiled for shapes that do not change, if the engine compiles; else as it is."""
        if not self.compiled:
            return function
        # The compiler leaves out a cast to bf16 and back, which is all that emulation consists of, unless it is told not to.
        return torch.compile(function, dynamic=False, options={"emulate_precision_casts": True} if self.emulates_bf16 else None)

    def place(self, model: nn.Module) -> nn.Module:
        return model.to(self.device, memory_format=torch.channels_last if self.puts_channels_last else torch.contiguous_format)

    def arrange(self, images: Tensor) -> Tensor:
        """The images in the memory layout of a placed model."""
        return images.contiguous(memory_format=torch.channels_last) if self.puts_channels_last else images

    def inference(self, model: nn.Module) -> Callable[[Tensor], Tensor]:
        """From a batch of images to float32 logits [B, classes], in micro-batches; the caller turns gradients off."""
        forward = self.compile(model)

        def logits(images: Tensor) -> Tensor:
            with self.autocast():
                return torch.cat([forward(part) for part in images.split(self.micro_batch or len(images))]).float()

        return logits


def choose_engine(protocol: Protocol, images_to_see: int, device: str) -> Engine:
    """The layout that pays for a run of `images_to_see` training images. A function of its arguments and the machine only.

    Micro-batches are exact only where no statistic is taken over the batch, so networks with batch norm never get them.
    """
    on_cpu = device == "cpu"
    splittable = protocol.student.norm != "batch"
    return Engine(
        device=device,
        micro_batch=CPU_MICRO_BATCH if on_cpu and splittable else 0,
        compiled=on_cpu and splittable and has_compiler() and images_to_see >= COMPILE_FROM_IMAGES,
        channels_last=protocol.student.architecture != "mlp",
        threads=torch.get_num_threads(),
        precision=protocol.numerics.precision,
    )


def has_compiler() -> bool:
    """Whether torch.compile can build for this processor."""
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))


def resolve_device(asked: str) -> str:
    """`auto`, `cpu`, `cuda` or `cuda:<i>` to a device that exists. Raises EnvironmentProblem."""
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked.startswith("cuda") and not torch.cuda.is_available():
        raise EnvironmentProblem(
            "no CUDA device", why="torch.cuda.is_available() is False", fix="use --device cpu, or see hlbench doctor"
        )
    return asked


def make_deterministic(protocol: Protocol) -> None:
    """Same unit, same machine, same bits: no algorithm is chosen by timing, and TF32 is what the protocol says."""
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = protocol.numerics.tf32
    torch.backends.cuda.matmul.allow_tf32 = protocol.numerics.tf32
    # CUDA kernels that add in a varying order are replaced where a fixed one exists; cuBLAS reads its setting when it starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(torch.cuda.is_available(), warn_only=True)
