"""bf16 autocast on processors that cannot multiply in bf16: the products of rounded operands, in fp32, rounded again.

PyTorch's bf16 convolutions are oneDNN's where the processor has AVX-512. Elsewhere they run in reference code, eight times slower
than fp32, and on processors with AVX2-VNNI-2 the backward pass raises (pytorch/pytorch issue 148861). bf16 arithmetic adds up in
fp32, so what is done here gives the same numbers but for the order in which sums are taken. `Engine.compile` sees to it that
compiled code rounds too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

PRODUCTS = (torch.conv2d, F.linear)  # all that the networks of this project multiply by


def multiplies_bf16() -> bool:
    """Whether convolutions in bf16, forward and backward, are compiled for this processor."""
    supported = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return supported and torch.backends.cpu.get_cpu_capability() != "AVX2"


@contextmanager
def emulated_autocast() -> Iterator[None]:
    """As torch.autocast("cpu", torch.bfloat16), with the products of `PRODUCTS` taken in fp32."""
    with torch.autocast("cpu", torch.bfloat16), _RoundedProducts():
        yield


class _RoundedProducts(TorchFunctionMode):
    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if function not in PRODUCTS:
            return function(*args, **(kwargs or {}))
        with torch.autocast("cpu", enabled=False):
            return function(*map(_rounded, args), **{name: _rounded(value) for name, value in (kwargs or {}).items()}).bfloat16()


def _rounded(value: Any) -> Any:
    """A tensor as bf16 holds it, in float32; its gradient is rounded likewise, as by autocast's own cast."""
    return value.bfloat16().float() if isinstance(value, Tensor) else value
