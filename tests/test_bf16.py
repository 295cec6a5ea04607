"""Rules of `harness/training/bf16.py`: emulated bf16 is bf16, forward and backward; products alone are replaced, if asked."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from harness.paths import project_root
from harness.protocols import find_protocol
from harness.training import engine as engine_module
from harness.training.bf16 import emulated_autocast, multiplies_bf16
from harness.training.engine import Engine
from harness.training.seeding import generator_for
from harness.training.students import build_student


def native_autocast():
    return torch.autocast("cpu", torch.bfloat16)


def whole_numbers(*shape: int, seed: int) -> torch.Tensor:
    """Small whole numbers: their products and sums are exact in fp32, in whatever order, and only the last rounding is left."""
    return torch.randint(-8, 9, shape, generator=torch.Generator().manual_seed(seed)).float().requires_grad_()


def convolved(images, weights, bias):
    return F.conv2d(images, weights, bias, padding=1)


def pull_of(out: torch.Tensor) -> torch.Tensor:
    return torch.randint(-4, 5, out.shape, generator=torch.Generator().manual_seed(9)).to(out.dtype)


def emulated(product, *given: torch.Tensor) -> list[torch.Tensor]:
    """What `product` gives and the gradients of its operands."""
    with emulated_autocast():
        out = product(*given)
    return [out, *torch.autograd.grad(out, given, pull_of(out))]


def by_definition(product, *given: torch.Tensor) -> list[torch.Tensor]:
    """Operands rounded to bf16, the product and its gradients without rounding, these rounded to bf16."""
    rounded = [tensor.detach().bfloat16().double().requires_grad_() for tensor in given]
    out = product(*rounded)
    return [out.bfloat16(), *(slope.bfloat16().float() for slope in torch.autograd.grad(out, rounded, pull_of(out)))]


@pytest.mark.parametrize(
    ("product", "shapes"),
    [
        (convolved, [(4, 3, 8, 8), (16, 3, 3, 3), (16,)]),
        (convolved, [(2, 16, 8, 8), (8, 16, 3, 3), (8,)]),
        (F.linear, [(5, 200), (10, 200), (10,)]),
    ],
)
def test_where_sums_are_exact_emulated_products_and_their_gradients_are_bf16_to_the_bit(product, shapes):
    given = [whole_numbers(*shape, seed=number) for number, shape in enumerate(shapes)]
    found = emulated(product, *given)
    assert found[0].dtype == torch.bfloat16
    assert max(tensor.abs().max() for tensor in found) > 256  # from here on bf16 cannot hold every whole number
    for one, other in zip(found, by_definition(product, *given), strict=True):
        assert torch.equal(one, other)
    with native_autocast():
        assert torch.equal(found[0], product(*given))


def gradients(model: nn.Module, autocast, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    model.zero_grad()
    with autocast():
        loss = F.cross_entropy(model(images), labels)
    loss.backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("student", ["tiny-imagenet/convnet-d4-hl/v1", "digits/resnet18-hl/v1"])
def test_a_students_emulated_gradient_is_as_far_from_fp32_as_bf16s_and_nearer_to_that(student):
    protocol = find_protocol(project_root(), student)
    model = build_student(protocol, generator_for(0, "init"))
    side, draw = protocol.input.resolution, torch.Generator().manual_seed(0)
    images, labels = torch.randn(4, 3, side, side, generator=draw), torch.arange(4)
    exact = gradients(model, lambda: torch.autocast("cpu", enabled=False), images, labels)
    native, emulated = (gradients(model, autocast, images, labels) for autocast in (native_autocast, emulated_autocast))

    def off(one: torch.Tensor, other: torch.Tensor) -> float:
        return ((one - other).norm() / exact.norm()).item()

    assert off(emulated, exact) > 1e-3  # it is rounded
    assert off(emulated, exact) < 2 * off(native, exact)
    assert off(emulated, native) < off(native, exact)


def test_only_products_are_replaced_and_nothing_is_outside():
    model, images = nn.Conv2d(3, 4, 3), torch.randn(1, 3, 8, 8)
    fp32 = model(images)
    with emulated_autocast():
        half = model(images)
        assert half.dtype == torch.bfloat16
        assert torch.relu(half).dtype == torch.bfloat16
        assert (half @ half.mT).dtype == torch.bfloat16
    assert torch.equal(model(images), fp32)
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize(
    ("layer", "shape"), [(nn.Linear(32, 10), (4, 32)), (nn.Conv2d(3, 8, 3, padding=1), (4, 3, 8, 8))], ids=["linear", "conv2d"]
)
def test_compiled_code_rounds_operands_and_gradients_as_code_that_is_not_compiled(monkeypatch, layer, shape):
    monkeypatch.setattr(engine_module, "multiplies_bf16", lambda: False)
    engine = Engine("cpu", 0, engine_module.has_compiler(), False, 1, "bf16-autocast")  # without a compiler nothing is compiled
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0), requires_grad=True)

    def passed(forward) -> list[torch.Tensor]:
        with engine.autocast():
            out = forward(images)
        return [out, *torch.autograd.grad(out, [images, *layer.parameters()], pull_of(out))]

    plain = passed(layer)
    for one, other in zip(passed(engine.compile(layer)), plain, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert not torch.equal(plain[0], layer(images).bfloat16())  # what a compiler gives that leaves the casts out


def test_a_processor_can_be_asked_whether_it_multiplies_bf16(monkeypatch):
    assert multiplies_bf16() in (True, False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not multiplies_bf16()


@pytest.mark.parametrize(("device", "precision", "native", "emulates"), [
    ("cpu", "bf16-autocast", False, True), ("cpu", "bf16-autocast", True, False), ("cpu", "fp32", False, False),
    ("cuda", "bf16-autocast", False, False),
])  # fmt: skip
def test_bf16_is_emulated_on_processors_without_it_alone_and_records_say_so(monkeypatch, device, precision, native, emulates):
    monkeypatch.setattr(engine_module, "multiplies_bf16", lambda: native)
    engine = Engine(device, 0, False, True, 1, precision)
    assert engine.emulates_bf16 is emulates
    assert engine.as_record()["emulates_bf16"] is emulates


@pytest.mark.parametrize(
    ("precision", "native", "asked", "expected"),
    [
        ("bf16-autocast", False, True, False), ("bf16-autocast", True, True, True), ("fp32", False, True, True),
        ("fp32", True, False, False),
    ],
)  # fmt: skip
def test_channels_come_first_where_bf16_is_emulated_and_fp32_keeps_its_layout(monkeypatch, precision, native, asked, expected):
    monkeypatch.setattr(engine_module, "multiplies_bf16", lambda: native)
    engine = Engine("cpu", 0, False, asked, 1, precision)
    images, layer = torch.randn(2, 3, 8, 8), nn.Conv2d(3, 4, 3)
    laid = [engine.arrange(images), engine.place(layer).weight]
    assert [tensor.is_contiguous(memory_format=torch.channels_last) for tensor in laid] == [expected, expected]
    assert engine.as_record()["channels_last"] is expected
