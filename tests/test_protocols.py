"""Rules of `harness/protocols.py` and of the protocol files that ship."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import ProtocolError, UsageError
from harness.freeze import differences
from harness.protocols import PLAIN_KEYS, find_protocol, protocol_ids, read_protocol

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = protocol_ids(ROOT)
ID = "cifar10/convnet-d3-hl/v1"
LARGE = "imagenet-1k/resnet18-hl/v1"


@pytest.fixture
def file(tmp_path) -> Path:
    """A copy of a shipped protocol, in its place below a project."""
    copy = tmp_path / "protocols" / f"{ID}.yaml"
    copy.parent.mkdir(parents=True)
    shutil.copy(ROOT / "protocols" / f"{ID}.yaml", copy)
    return copy


LR = '  lr: {value: 0.01, from: inferred, why: "Table 4, small HL, applied to CIFAR-10"}'


# The files: every mistake is named with its file and key.


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "  momentum:",
            "  momentun:",
            ["optimizer.sgd.momentun", "valid keys here: decayed_parameters, lr, momentum, name", "did you mean 'momentum'"],
        ),
        ("schedule:\n", "schedul:\n", ["schedul: unknown key", "did you mean 'schedule'"]),
        (LR, LR.replace("0.01", "fast"), ["optimizer.sgd.lr", "valid number", "'fast'"]),
        (LR, LR.replace("0.01", "'0.01'"), ["optimizer.sgd.lr", "valid number"]),
        (LR, LR.replace("0.01", "-0.01"), ["optimizer.sgd.lr", "greater than 0"]),
        (LR, LR.replace("0.01", ".nan"), ["optimizer.sgd.lr"]),
        (LR, LR.replace("0.01", ".inf"), ["optimizer.sgd.lr", "finite"]),
        (LR + "\n", "", ["optimizer.sgd.lr", "missing; required here", "momentum"]),
        (LR, "  lr: 0.01", ["optimizer.lr", "has no provenance", "paper|official-code|inferred"]),
        (LR, LR.replace("from: inferred", "from: guess"), ["optimizer.lr", "'guess'", "paper|official-code|inferred"]),
        (LR, LR.replace(', why: "Table 4, small HL, applied to CIFAR-10"', ""), ["optimizer.lr", "why:"]),
        (LR, LR.replace("Table 4, small HL, applied to CIFAR-10", " "), ["optimizer.lr", "why:"]),
        (LR, LR.replace("why:", "because: x, why:"), ["optimizer.lr", "because"]),
        (LR, LR + "\n" + LR, ["'lr' appears twice"]),
        (LR, LR.replace("value: 0.01", "value: &x 0.01") + "\n  extra: *x", ["aliases"]),
        ("value: sgd", "value: lion", ["optimizer", "'sgd'", "'adamw'"]),
        ("{1: 256}", "{10: 256}", ["training", "IPC 1"]),
        ("{1: 256}", "{1: 0256}", ["training.batch_size.1", "'0256'"]),
        ("{1: 256}", "{1: 256, 0: 1}", ["training.batch_size.0"]),
        ("value: [0, 1, 2, 3, 4]", "value: []", ["seeds"]),
        ("value: [0, 1, 2, 3, 4]", "value: [0, 1.5]", ["seeds.1"]),
        ("schema: 1", "schema: 2", ["schema"]),
        (f"id: {ID}", "id: ../../etc/passwd", ["id"]),
        ("value: last", "value: best", ["evaluation.epoch", "'last'"]),
        ("value: hl, ", "value: sl, ", ["labels.sl.temperature", "missing"]),
        ("value: hl, ", "value: kd, ", ["labels", "'hl'", "'sl-kd'"]),
    ],
)
def test_a_mistake_in_a_protocol_is_told_with_file_key_and_what_is_valid(file, old, new, told):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(ProtocolError) as caught:
        read_protocol(file)
    message = str(caught.value)
    assert str(file) in message
    assert [part for part in told if part not in message] == [], message


@pytest.mark.parametrize(
    ("regime", "old", "new", "told"),
    [
        ("sl", "value: un-augmented-image", "value: every-view", "sl labels the un-augmented-image"),
        ("sl-kd", "value: every-view", "value: un-augmented-image", "sl-kd labels every-view"),
        ("sl", "cutmix: {value: none, from: paper", "cutmix: {value: mixup, from: paper", "labels.sl.cutmix"),
        ("sl-kd", "    beta_alpha: {value: 1.0,", "    beta_alpha: {value: 0.0,", "labels.sl-kd.cutmix.CutMix.beta_alpha"),
        ("sl-kd", "    probability: {value: 1.0,", "    probability: {value: 1.5,", "labels.sl-kd.cutmix.CutMix.probability"),
        ("sl", "temperature: {value: 20.0,", "temperature: {value: 0.0,", "labels.sl.temperature"),
        ("sl", "teacher_sha256: {value: pending,", "teacher_sha256: {value: newest,", "labels.sl.teacher_sha256"),
        ("sl", "teacher: {value: cifar10/convnet-d3,", "teacher: {value: ../../x,", "labels.sl.teacher"),
        ("sl", "regime: {value: sl,", "regime: {value: hl,", "labels.hl"),
        ("sl", "id: cifar10/convnet-d3-sl/v1", "id: cifar10/convnet-d3-hl/v1", "does not name the regime"),
    ],
)
def test_a_mistake_in_soft_labels_is_told(tmp_path, regime, old, new, told):
    text = (ROOT / "protocols" / f"cifar10/convnet-d3-{regime}/v1.yaml").read_text()
    assert old in text
    (tmp_path / "v1.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(ProtocolError) as caught:
        read_protocol(tmp_path / "v1.yaml")
    assert told in str(caught.value)


def test_a_huge_protocol_file_is_refused(file):
    with file.open("ab") as stream:
        stream.truncate(1 << 21)
    with pytest.raises(ProtocolError, match="too large"):
        read_protocol(file)


def test_a_protocol_in_anothers_place_is_refused(file, tmp_path):
    shutil.copy(file, file.with_name("v2.yaml"))
    with pytest.raises(ProtocolError, match="disagree"):
        find_protocol(tmp_path, "cifar10/convnet-d3-hl/v2")


def test_an_unknown_protocol_is_answered_with_the_known_ones(file, tmp_path):
    with pytest.raises(UsageError, match="no protocol") as caught:
        find_protocol(tmp_path, "../../../etc/passwd")
    assert ID in caught.value.fix


@pytest.mark.parametrize(("ipc", "batch"), [(1, 16), (4, 16), (10, 50), (49, 80), (50, 128), (700, 512)])
def test_an_unlisted_ipc_takes_the_batch_size_of_the_largest_listed_one_below_it(ipc, batch):
    assert find_protocol(ROOT, LARGE).batch_size(ipc, set_size=10**6) == batch


def test_a_batch_is_never_larger_than_the_set():
    assert find_protocol(ROOT, ID).batch_size(1, set_size=10) == 10


# The protocols that ship.


def leaf_keys(section: dict, prefix: str = "") -> set[str]:
    keys = set()
    for name, value in section.items():
        by_ipc = isinstance(value, dict) and all(isinstance(key, int) for key in value)
        keys |= leaf_keys(value, f"{prefix}{name}.") if isinstance(value, dict) and not by_ipc else {f"{prefix}{name}"}
    return keys


@pytest.mark.parametrize("protocol_id", SHIPPED)
def test_every_single_value_of_a_shipped_protocol_has_its_own_provenance(protocol_id):
    protocol = find_protocol(ROOT, protocol_id)
    values = protocol.model_dump(by_alias=True, exclude=set(PLAIN_KEYS) | {"schema_version"})
    assert set(protocol.provenance) == leaf_keys(values)


@pytest.mark.parametrize("protocol_id", SHIPPED)
def test_a_shipped_protocol_names_the_dataset_the_harness_knows(protocol_id):
    from harness.datasets import dataset_spec

    named = find_protocol(ROOT, protocol_id).dataset
    spec = dataset_spec(named.name)
    assert (named.repo, named.revision) == (spec.repo, spec.revision)
    assert (named.classes, named.train_images, named.test_images) == (spec.classes, spec.train_rows, spec.test_rows)
    assert protocol_id.split("/")[0] == named.name


@pytest.mark.parametrize("protocol_id", SHIPPED)
def test_a_shipped_protocol_states_the_statistics_its_normalization_is_known_by(protocol_id):
    from harness.normalization import NORMALIZATIONS

    stated = find_protocol(ROOT, protocol_id).input
    assert (stated.mean, stated.std) == NORMALIZATIONS[stated.normalization]


@pytest.mark.parametrize("protocol_id", SHIPPED)
def test_a_shipped_protocol_states_the_parameters_of_the_student_that_is_built(protocol_id):
    import torch

    from harness.training.students import build_student

    protocol = find_protocol(ROOT, protocol_id)
    student = build_student(protocol, torch.Generator().manual_seed(0))
    assert sum(parameter.numel() for parameter in student.parameters()) == protocol.student.parameters


@pytest.mark.parametrize(
    ("a", "b", "sections"),
    [
        ("cifar10/convnet-d3-hl/v1", "cifar100/convnet-d3-hl/v1", {"dataset", "input", "student"}),
        ("cifar100/convnet-d3-hl/v1", "tiny-imagenet/convnet-d4-hl/v1", {"dataset", "input", "student"}),
        ("cifar10/convnet-d3-hl/v1", "cifar10/resnet18-hl/v1", {"student"}),
        ("cifar100/convnet-d3-hl/v1", "cifar100/resnet18-hl/v1", {"student"}),
        ("tiny-imagenet/convnet-d4-hl/v1", "tiny-imagenet/resnet18-hl/v1", {"student"}),
    ],
)
def test_the_small_scale_recipe_is_one_recipe(a, b, sections):
    rows = differences(find_protocol(ROOT, a), find_protocol(ROOT, b))
    assert {row.key.split(".")[0] for row in rows if row.value_a != row.value_b} == sections


def test_reading_protocols_does_not_import_torch():
    code = "import sys, harness.protocols; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
