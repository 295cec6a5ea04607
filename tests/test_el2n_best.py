"""The search of EL2N-Best: what students see, what they are measured on, that it resumes, and that its account is held to."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from dynamics_runs import add_small_protocol, thirty_digits

from harness import canonical, reference, search_window
from harness.cli import main
from harness.coresets.el2n_best import STEPS, hold_out, window_grid
from harness.datasets import load_split
from harness.datasets.base import Split
from harness.errors import CheckFailed, UsageError
from harness.regenerate import verify_submission
from harness.search_window import Students, find_window, make_best
from harness.submissions import find_submissions, read_submission
from harness.window_account import Question, account_path, check_account

ROOT = Path(__file__).resolve().parent.parent
RECORDING = "digits/resnet18-hl-v1-full"
SHA = "ab" * 32
SHIPPED = [path for path in find_submissions(ROOT) if read_submission(path).method == "el2n-best"]


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A checkout with copies of this project's protocols and recordings and no submissions; the cache is its own."""
    for name in ("dynamics", "teachers/digits", "protocols/digits"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "protocols/LOCK.json", tmp_path / "protocols")
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def few(tmp_path, monkeypatch) -> tuple[Split, np.ndarray]:
    """(nine digits of each class, EL2N of two snapshots)."""
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    split = thirty_digits(9)
    return split, np.random.default_rng(4).uniform(0, 1.4, (2, len(split))).astype(np.float32)


@pytest.fixture
def without_test_split(monkeypatch):
    def train_only(dataset, split, data=None):
        assert split == "train", "the search asked for the test split"
        return load_split(dataset, split, data)

    for module in (search_window, reference):
        monkeypatch.setattr(module, "load_split", train_only)


@pytest.fixture
def run(root, monkeypatch):
    """Runs `hlbench ARGUMENTS` in the checkout; returns the exit code."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["hlbench", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0

    monkeypatch.chdir(root)
    return call


def question(split: Split, **changes) -> Question:
    asked = {
        "dataset": "digits", "ipc": 2, "split_fingerprint": split.fingerprint, "recording": "digits/any", "el2n_sha256": SHA,
        "held_out": 0.2, "held_out_seed": 1, "protocol": "digits/resnet18-hl/v1", "protocol_sha256": SHA, "device": "cpu",
        "torch": "2",
    }  # fmt: skip
    return Question(**asked | changes)


def taste(image_set, held_out, seed) -> float:
    """A made-up accuracy with ties that follows from the rows, the held-out rows and the seed."""
    return float((7 * image_set.source_rows.sum() + 3 * held_out.labels.sum() + 5 * seed) % 6)


def student(protocol, ipc, image_set, held_out, seed, device):
    return SimpleNamespace(result=SimpleNamespace(top1=taste(image_set, held_out, seed)))


def no_student(*_):
    raise AssertionError("a student was trained")


def search(root: Path, ipc: int = 5, train_student=student, seeds=(0, 1), step=0.1, **given):
    students = Students(seeds=seeds, device="cpu", step=step)
    given = {"dynamics": RECORDING, "students": students, "say": lambda line: None, "train_student": train_student, **given}
    return make_best(root, "digits", ipc, **given)


def test_the_window_is_that_of_a_brute_force_search_over_all_seeds(few):
    split, scores = few
    seeds = (3, 8, 9)
    account = find_window(question(split), split, scores, seeds, taste, lambda line: None)
    candidates, held = hold_out(split.labels, 0.2, 1)
    best = None
    for tenth in range(10):
        rows = []
        for label in range(10):
            ranked = sorted((r for r in candidates if split.labels[r] == label), key=lambda r: -scores[:, r].astype(float).mean())
            rows += ranked[tenth * len(ranked) // 10 :][:2]
        if tenth / 10 > 1 - 2 / 8 + 1e-12:  # eight of nine are candidates
            continue
        reached = [(7 * sum(rows) + 3 * int(split.labels[held].sum()) + 5 * seed) % 6 for seed in seeds]
        assert list(account.windows[tenth].top1) == reached
        if best is None or sum(reached) > best[0]:
            best = sum(reached), tenth / 10
    assert account.chosen == best[1]
    assert len(account.windows) == 8


def test_students_see_candidates_only_and_are_measured_on_all_held_out_training_rows(few):
    split, scores = few
    _, held = hold_out(split.labels, 0.2, 1)

    def check(image_set, held_out, seed):
        rows = image_set.source_rows
        assert not set(rows.tolist()) & set(held.tolist())
        assert np.array_equal(image_set.images, split.images[rows])
        assert np.array_equal(image_set.labels, split.labels[rows])
        assert held_out.name == "train"
        assert np.array_equal(held_out.images, split.images[held])
        assert np.array_equal(held_out.labels, split.labels[held])
        return 0.0

    account = find_window(question(split), split, scores, (0,), check, lambda line: None)
    assert account.held_out_rows == len(held)
    assert account.chosen == 0  # of equals the smallest beta


def test_a_test_split_is_refused(few):
    split, scores = few
    test = Split("digits", "test", split.images, split.labels, split.fingerprint)
    with pytest.raises(UsageError, match="chosen on the training split"):
        find_window(question(split), test, scores, (0,), taste)


def test_an_interrupted_search_goes_on_with_the_student_it_lost(few):
    split, scores = few
    whole = find_window(question(split, torch="another"), split, scores, (0, 1), taste, lambda line: None)
    trained = []

    def killed_at_the_sixth(image_set, held_out, seed):
        if len(trained) == 5:
            raise KeyboardInterrupt
        trained.append(seed)
        return taste(image_set, held_out, seed)

    with pytest.raises(KeyboardInterrupt):
        find_window(question(split), split, scores, (0, 1), killed_at_the_sixth, lambda line: None)
    after, said = [], []

    def counted(image_set, held_out, seed):
        after.append(seed)
        return taste(image_set, held_out, seed)

    resumed = find_window(question(split), split, scores, (0, 1), counted, said.append)
    assert len(after) == 2 * len(whole.windows) - 5
    assert (resumed.windows, resumed.chosen) == (whole.windows, whole.chosen)
    assert sum("remembered" in line for line in said) == 5
    more = find_window(question(split), split, scores, (0, 1, 2), counted, said.append)
    assert len(after) == 2 * len(whole.windows) - 5 + len(more.windows)  # one more seed, and no student again


def test_students_of_a_coarser_grid_are_remembered_for_the_finer_one(few):
    split, scores = few
    said = []
    whole = find_window(question(split, torch="another"), split, scores, (0,), taste, lambda line: None)
    coarse = find_window(question(split), split, scores, (0,), taste, lambda line: None, 0.3)
    assert [window.beta for window in coarse.windows] == [0, 0.3, 0.6]
    assert coarse.windows == whole.windows[::3]
    assert find_window(question(split), split, scores, (0,), taste, said.append).windows == whole.windows
    assert sum("remembered" in line for line in said) == 3


def test_a_search_keeps_what_one_beside_it_remembered_meanwhile(few):
    split, _ = few
    first, second = search_window.Memory(question(split)), search_window.Memory(question(split))
    first.keep(0.1, 0, 40.0)
    second.keep(0.2, 0, 50.0)
    assert search_window.Memory(question(split)).top1 == {"0.1 0": 40.0, "0.2 0": 50.0}


@pytest.mark.parametrize(
    "changed",
    [
        {"protocol_sha256": "cd" * 32}, {"split_fingerprint": "cd" * 32}, {"el2n_sha256": "cd" * 32}, {"ipc": 3},
        {"held_out": 0.3}, {"held_out_seed": 2}, {"device": "cuda"}, {"torch": "3"},
    ],
)  # fmt: skip
def test_another_question_remembers_nothing(few, changed):
    split, scores = few
    find_window(question(split), split, scores, (0,), taste, lambda line: None)
    said = []
    find_window(question(split, **changed), split, scores, (0,), taste, said.append)
    assert not any("remembered" in line for line in said)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"top1 of beta and seed": {"0 0": "9"}}', b"\xff\xfe"])
def test_a_damaged_memory_costs_the_students_again_and_nothing_else(few, damage):
    split, scores = few
    first = find_window(question(split), split, scores, (0,), taste, lambda line: None)
    memory = search_window.Memory(question(split)).path
    memory.write_bytes(damage)
    said = []
    assert find_window(question(split), split, scores, (0,), taste, said.append) == first
    assert not any("remembered" in line for line in said)
    assert [path.name for path in memory.parent.iterdir()] == [memory.name]


def test_the_submission_is_made_again_from_its_command_without_a_student_and_without_the_test_split(root, without_test_split):
    made = search(root, parameters={"held_out": "0.2"})
    account = json.loads(account_path(root, made).read_bytes())
    assert f"--param beta={account['chosen']:g}" in made.made_by.command
    assert made.made_by.parameters["searched"] == canonical.file_sha256(account_path(root, made))
    assert account["question"]["protocol"] == "digits/resnet18-hl/v1"
    rows = json.loads((root / made.sets[0].path).read_text())["rows"]
    assert not set(rows) & set(hold_out(load_split("digits", "train").labels, 0.2, 0)[1].tolist())
    assert "every byte the same" in verify_submission(root, root / made.relative_path)
    assert "window-search.json chooses beta" in check_account(root, made)
    before = (root / made.relative_path).read_bytes()
    again = search(root, parameters={"held_out": "0.2"}, train_student=no_student)
    assert (root / again.relative_path).read_bytes() == before


def test_the_account_names_the_array_that_windows_are_ranked_by_and_not_the_whole_recording(root):
    made = search(root)
    asked = json.loads(account_path(root, made).read_bytes())["question"]
    assert asked["el2n_sha256"] == canonical.file_sha256(ROOT / "dynamics" / RECORDING / "el2n.npy")
    assert made.made_by.inputs == {f"dynamics/{RECORDING}/el2n.npy": asked["el2n_sha256"]}
    inputs = {f"dynamics/{RECORDING}/el2n.npy": SHA}
    forged = made.model_copy(update={"made_by": made.made_by.model_copy(update={"inputs": inputs})})
    with pytest.raises(CheckFailed, match="not what its search chose"):
        check_account(root, forged)


def test_the_notes_tell_the_windows_and_students_of_a_search_and_a_choice_at_the_end_of_the_grid(root):
    def best_at(position):
        asked = iter(range(2 * 10))  # two seeds a window, window after window

        def only_there(*_):
            return SimpleNamespace(result=SimpleNamespace(top1=float(next(asked) // 2 == position)))

        return only_there

    made = search(root, train_student=best_at(2))
    assert made.notes.endswith("Searched: 10 windows, beta = 0 to 0.9, 0.1 apart, 2 students each; chosen: 0.2.")
    again = reference.make_coreset(
        root, "el2n-best", "digits", 5, dynamics=RECORDING,
        parameters={"beta": "0.2", "searched": made.made_by.parameters["searched"]},
    )  # fmt: skip
    assert again == made  # the pasted command finds the account
    last = search(root, ipc=4, train_student=best_at(9))
    assert last.notes.endswith("chosen: 0.9. It is the last of the grid, so the best window may lie beyond it.")


def test_a_coarser_search_makes_a_submission_that_says_so_and_verifies(root):
    made = search(root, step=0.3)
    assert check_account(root, made).endswith("of 4 windows, 0.3 apart")
    assert "every byte the same" in verify_submission(root, root / made.relative_path)


def test_an_account_that_was_lost_altered_or_is_another_sets_is_found_out(root):
    made, other = search(root), search(root, ipc=1)
    path = account_path(root, made)
    contents = path.read_bytes()
    path.write_bytes(contents.replace(b'"mean"', b'"mean" '))
    with pytest.raises(CheckFailed, match="not what its search chose") as caught:
        check_account(root, made)
    assert "bytes" in caught.value.why
    path.unlink()
    with pytest.raises(CheckFailed) as caught:
        check_account(root, made)
    assert "missing" in caught.value.why
    path.write_bytes(account_path(root, other).read_bytes())
    with pytest.raises(CheckFailed) as caught:
        check_account(root, naming(made, canonical.file_sha256(path)))
    assert "ipc: 1 in the search, 5 in the submission" in caught.value.why


@pytest.mark.parametrize("key", ["chosen", "mean", "top1"])
def test_an_account_whose_numbers_do_not_lead_to_its_beta_is_refused_however_it_is_hashed(root, key):
    made = search(root)
    path = account_path(root, made)
    account = json.loads(path.read_bytes())
    if key == "chosen":
        account["chosen"] = next(window["beta"] for window in account["windows"] if window["beta"] != account["chosen"])
    elif key == "mean":
        account["windows"][0]["mean"] += 1
    else:
        account["windows"][0]["top1"] = [99.0]
    path.write_text(json.dumps(account))
    with pytest.raises(CheckFailed, match="does not fit its schema"):
        check_account(root, naming(made, canonical.file_sha256(path)))


def test_an_account_of_a_part_of_the_windows_is_found_out(root):
    made = search(root)
    path = account_path(root, made)
    account = json.loads(path.read_bytes())
    account |= {"windows": account["windows"][:1], "chosen": account["windows"][0]["beta"]}
    path.write_text(json.dumps(account))
    named = naming(made, canonical.file_sha256(path))
    parameters = {**named.made_by.parameters, "beta": account["chosen"]}
    named = named.model_copy(update={"made_by": named.made_by.model_copy(update={"parameters": parameters})})
    with pytest.raises(CheckFailed) as caught:
        check_account(root, named)
    assert "it looked at 1 windows of" in caught.value.why


@pytest.mark.parametrize("contents", [b"no JSON", b"\xff", b"[" * 100_000])
def test_an_account_that_is_none_is_refused(root, contents):
    made = search(root)
    path = account_path(root, made)
    path.write_bytes(contents)
    with pytest.raises(CheckFailed) as caught:
        check_account(root, naming(made, canonical.file_sha256(path)))
    assert "it is no account" in caught.value.why


def naming(made, sha256):
    made_by = made.made_by.model_copy(update={"parameters": {**made.made_by.parameters, "searched": sha256}})
    return made.model_copy(update={"made_by": made_by})


def test_a_diverged_student_stops_the_search_and_is_not_remembered(root):
    def diverged(*_):
        return SimpleNamespace(result=None)

    with pytest.raises(UsageError, match="diverged"):
        search(root, train_student=diverged)
    assert not (root / "submissions").exists()
    assert not (root / "cache/window-search").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dynamics": None}, "selects by the dynamics of a training run"),
        ({"dynamics": "digits/nobody"}, "no training dynamics"),
        ({"draws": 2}, "has one draw"),
        ({"slug": "../x"}, "is not a slug"),
        ({"parameters": {"held_out": "1"}}, "held out is 1"),
        ({"parameters": {"windows": "1"}}, "no parameter"),
        ({"students": Students(protocol="digits/resnet18-sl/v1")}, "does not fit the search"),
        ({"students": Students(student="resnet9")}, "no frozen resnet9 protocol"),
        ({"students": Students(seeds=(1, 1))}, "are no seeds"),
        ({"students": Students(seeds=(-1, 1))}, "are no seeds"),
        ({"students": Students(step=0.25)}, "windows cannot begin 0.25 apart"),
        ({"students": Students(step=float("nan"))}, "windows cannot begin nan apart"),
        ({"ipc": 86}, "fewer than IPC 86"),
    ],
)
def test_a_search_that_cannot_be_is_refused_before_any_student(root, given, said):
    with pytest.raises(UsageError, match=said):
        search(root, train_student=no_student, **given)
    assert not (root / "submissions").exists()


@pytest.mark.parametrize("beta", [0.05, 0.95, -0.1, 1.0])
def test_a_beta_that_no_search_finds_is_refused_with_the_grid(root, beta):
    with pytest.raises(UsageError, match="no search of el2n-best finds beta") as caught:
        reference.make_coreset(root, "el2n-best", "digits", 10, dynamics=RECORDING, parameters={"beta": beta})
    assert caught.value.fix.endswith("0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8")


def test_the_students_of_a_search_are_by_default_none_that_the_set_is_measured_with(root):
    protocol = search_window.hard_label_protocol(root, "digits", Students())
    seeds = search_window.search_seeds(protocol, None)
    assert len(seeds) == 3
    assert not set(seeds) & set(protocol.seeds)


def test_the_command_trains_real_students_and_verifies(root, run, monkeypatch, capsys, without_test_split):
    shutil.rmtree(root / "protocols/digits")
    (root / "protocols/LOCK.json").write_text("{}\n")
    protocol = add_small_protocol(root, epochs=2)
    options = ["--dataset", "digits", "--ipc", "30", "--dynamics", RECORDING, "--student", "convnet-d2", "--device", "cpu"]
    assert run("select", "el2n-best", *options, "--search-seeds", "7") == 0
    said = capsys.readouterr()
    assert said.out.strip() == "submissions/el2n-best/digits-ipc30.yaml"
    assert said.err.count("seed 7") == 7  # beta 0 to 0.6
    made = read_submission(root / "submissions/el2n-best/digits-ipc30.yaml")
    account = json.loads(account_path(root, made).read_bytes())
    assert (account["question"]["protocol"], account["seeds"]) == (protocol, [7])
    monkeypatch.setattr(search_window, "make_best", no_student)
    assert run("select", "--verify", made.relative_path) == 0
    assert "window-search.json chooses beta" in capsys.readouterr().out
    account_path(root, made).unlink()
    assert run("select", "--verify", made.relative_path) == 1


def test_a_beta_that_nobody_searched_is_neither_made_nor_verified_as_the_best(root, run, capsys):
    options = ["--dataset", "digits", "--ipc", "5", "--dynamics", RECORDING]
    assert run("select", "el2n-best", *options, "--param", "beta=0.5") == 2
    assert "use el2n-window" in capsys.readouterr().err
    made = reference.make_coreset(root, "el2n-best", "digits", 5, dynamics=RECORDING, parameters={"beta": 0.5})
    with pytest.raises(CheckFailed) as caught:
        check_account(root, made)
    assert "names no search" in caught.value.why


@pytest.mark.parametrize("searched", ["--search-seeds", "--search-step"])
@pytest.mark.parametrize("arguments", [["el2n-easy"], ["el2n-best", "--param", "beta=0.1"]])
def test_options_of_the_search_are_refused_where_nothing_is_searched(run, capsys, arguments, searched):
    options = ["--dataset", "digits", "--ipc", "1", "--dynamics", RECORDING, searched, "0"]
    assert run("select", *arguments, *options) == 2
    assert "are for the search of el2n-best" in capsys.readouterr().err


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_set_has_the_account_of_a_whole_search_on_this_projects_protocol(path):
    made, data = read_submission(path), os.environ.get("HLBENCH_DATA")
    folder = Path(data) if data else None
    if made.dataset != "digits" and not (folder and (folder / made.dataset).is_dir()):
        pytest.skip(f"HLBENCH_DATA has no {made.dataset}")
    assert "chooses beta" in check_account(ROOT, made, folder)
    account = json.loads(account_path(ROOT, made).read_bytes())
    asked, train = account["question"], load_split(made.dataset, "train", folder)
    candidates, held = hold_out(train.labels, asked["held_out"], asked["held_out_seed"])
    betas = [window["beta"] for window in account["windows"]]
    assert any(betas == window_grid(train.labels[candidates], made.ipc, step) for step in STEPS)
    assert account["held_out_rows"] == len(held)
    assert asked["protocol_sha256"] == search_window.find_protocol(ROOT, asked["protocol"]).sha256
