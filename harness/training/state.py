"""Where a training stands after an epoch: all that its later epochs depend on, so that it can go on elsewhere, bit for bit.

The orders of the images are no part of it: `trainer.epoch_orders` draws those of the past again from the seed, in milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.records import CurvePoint

MODEL, OPTIMIZER, AUGMENTATION = "model/", "optimizer/", "augmentation"


@dataclass(frozen=True)
class TrainingState:
    """After `epochs_done` epochs. `train_loss` is the mean loss of the last of them, `curve` the record's curve up to there.

    `tensors`, on the CPU: `model/<name>` of the network's state, `optimizer/<parameter's number>/<name>`, and `augmentation`, the
    state of the generator that draws it (uint8).
    """

    epochs_done: int
    train_loss: float
    curve: tuple[CurvePoint, ...]
    tensors: dict[str, Tensor]


def capture(model: nn.Module, optimizer: torch.optim.Optimizer, augmentation: torch.Generator) -> dict[str, Tensor]:
    """`TrainingState.tensors`: copies, which later epochs do not touch."""
    tensors = {MODEL + name: tensor for name, tensor in model.state_dict().items()}
    for number, parameter in enumerate(_parameters(optimizer)):
        kept = {name: value for name, value in optimizer.state[parameter].items() if isinstance(value, Tensor)}
        tensors |= {f"{OPTIMIZER}{number}/{name}": value for name, value in kept.items()}
    copies = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    return copies | {AUGMENTATION: augmentation.get_state()}


def restore(
    tensors: dict[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer, augmentation: torch.Generator
) -> None:
    """The reverse of `capture`, into a network of the same kind and an optimizer that has taken no step yet."""
    model.load_state_dict({name.removeprefix(MODEL): tensor for name, tensor in tensors.items() if name.startswith(MODEL)})
    for number, parameter in enumerate(_parameters(optimizer)):
        prefix = f"{OPTIMIZER}{number}/"
        for name, tensor in tensors.items():
            if name.startswith(prefix):
                optimizer.state[parameter][name.removeprefix(prefix)] = _laid_out(tensor, parameter)
    augmentation.set_state(tensors[AUGMENTATION])


def _laid_out(tensor: Tensor, parameter: Tensor) -> Tensor:
    """Momenta lie in memory as their parameter does, so that the same loops, which round alike, run over them.

    A count of steps stays on the CPU, where the optimizers of torch keep it.
    """
    return torch.empty_like(parameter).copy_(tensor) if tensor.shape == parameter.shape else tensor.clone()


def _parameters(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    return (parameter for group in optimizer.param_groups for parameter in group["params"])
