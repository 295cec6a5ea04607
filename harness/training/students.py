"""The student networks (methods B): ConvNet, ResNet-18/50/101 with their small-image stem, MLP.

Sources: ConvNet - VICO-UoE/DatasetCondensation networks.py; ResNets - torchvision; small stem - VILA-Lab/SRe2L and LINs-lab/RDED.
"""

from __future__ import annotations

import torch
import torchvision
from torch import nn

from harness.errors import ProtocolError
from harness.protocol_models import Student
from harness.protocols import Protocol


def build_student(protocol: Protocol, generator: torch.Generator) -> nn.Module:
    """The protocol's student on the CPU, float32, initialised from `generator`.

    Takes float images [B, 3, R, R] (R = protocol.input.resolution), returns logits [B, classes].
    Raises ProtocolError when the network's parameter count is not the one the protocol states.
    """
    model = build_network(protocol.student, protocol.dataset.classes, protocol.input.resolution, protocol.id)
    initialise(model, protocol.student.init, generator)
    return model


def build_network(student: Student, classes: int, side: int, where: str) -> nn.Module:
    """The network a `student` section describes, for `side` x `side` pixels; its weights are not yet anything.

    Raises ProtocolError, naming `where`, when its parameter count is not the one the section states.
    """
    builders = {"convnet": _convnet, "mlp": _mlp, "resnet18": _resnet, "resnet50": _resnet, "resnet101": _resnet}
    with torch.random.fork_rng(devices=[]):  # the constructors draw from the global generator, in vain
        model = builders[student.architecture](student, classes, side)
    count = sum(parameter.numel() for parameter in model.parameters())
    if count != student.parameters:
        raise ProtocolError(
            "the student is not the network the protocol describes",
            where=f"{where}: student.parameters",
            why=f"the file says {student.parameters:,}, the built network has {count:,}",
        )
    return model


def _convnet(student: Student, classes: int, side: int) -> nn.Module:
    """`depth` blocks of conv 3x3, norm, ReLU, 2x2 average pooling; then one linear layer (DC networks.py ConvNet)."""
    blocks: list[nn.Module] = []
    channels = 3
    for _ in range(student.depth):
        blocks += [
            nn.Conv2d(channels, student.width, kernel_size=3, padding=1),
            # DC's "instancenorm" is GroupNorm with one channel a group, affine; it keeps no running statistics.
            nn.GroupNorm(student.width, student.width) if student.norm == "instance" else nn.BatchNorm2d(student.width),
            nn.ReLU(inplace=True),
            nn.AvgPool2d(kernel_size=2, stride=2),
        ]
        channels = student.width
    features = student.width * (side >> student.depth) ** 2
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(features, classes))


def _resnet(student: Student, classes: int, side: int) -> nn.Module:
    model = getattr(torchvision.models, student.architecture)(weights=None, num_classes=classes)
    if student.stem == "small":
        model.conv1 = nn.Conv2d(3, student.width, kernel_size=3, stride=1, padding=1, bias=False)
        model.maxpool = nn.Identity()
    return model


def _mlp(student: Student, classes: int, side: int) -> nn.Module:
    """flatten, two hidden layers of `width`, ReLU (DC networks.py MLP)."""
    sizes = [3 * side * side, student.width, student.width]
    hidden = [layer for i in range(2) for layer in (nn.Linear(sizes[i], sizes[i + 1]), nn.ReLU(inplace=True))]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(student.width, classes))


def initialise(model: nn.Module, scheme: str, generator: torch.Generator) -> None:
    """Draw every weight from `generator`, in module order, as the library's own constructors would.

    `torch-default`: Conv2d and Linear kaiming_uniform(a=sqrt 5), biases uniform in +-1/sqrt(fan_in); norms at 1 and 0.
    `torchvision-default`: as that, but convolutions kaiming_normal(fan_out, ReLU) (torchvision models/resnet.py).
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and scheme == "torchvision-default":
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(module.weight, a=5**0.5, generator=generator)
            if module.bias is not None:
                bound = module.weight[0].numel() ** -0.5
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)
        elif isinstance(module, nn.GroupNorm | nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
