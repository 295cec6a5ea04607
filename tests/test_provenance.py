"""What a submission says of how it was made: by which version, from which recording; and that verifying holds it to that."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from command_line import caller

from harness import reference
from harness.canonical import file_sha256
from harness.coresets import SELECTORS
from harness.datasets import load_split
from harness.distill.registry import DISTILLERS
from harness.dynamics import record
from harness.dynamics.artifact import folders, read_spec
from harness.dynamics.describe import record_command, scored_by, windows_in_epochs
from harness.errors import CheckFailed, EnvironmentProblem, SubmissionError, UsageError
from harness.protocols import find_protocol
from harness.reference import make_coreset, make_distilled, make_from_scores, make_full
from harness.regenerate import verify_submission
from harness.submissions import find_submissions, read_submission

ROOT = Path(__file__).resolve().parent.parent
RECORDING = "digits/resnet18-hl-v1-ipc10"
RECORDINGS = list(folders([ROOT / "dynamics"]))
SHIPPED = find_submissions(ROOT)


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A checkout with copies of this project's protocols and teachers and one of its recordings; the cache is its own."""
    for name in ("protocols", "teachers"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "dynamics" / RECORDING, tmp_path / "dynamics" / RECORDING)
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def hlbench(root, monkeypatch, capsys):
    """Runs `hlbench ARGUMENTS`; returns (exit code, standard output, standard error)."""
    return caller(monkeypatch, capsys)


def cad(root: Path, ipc: int = 2, dynamics: str = RECORDING, slug: str | None = None):
    return make_coreset(root, "cad-prune", "digits", ipc, dynamics=dynamics, slug=slug)


def change(path: Path, **made_by) -> None:
    keys = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**keys, "made_by": {**keys["made_by"], **made_by}}))


# What is written


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_set_says_by_which_version_of_what_it_was_made_and_under_which_protocol_it_was_scored(path):
    submission = read_submission(path)
    made_by, selector = submission.made_by, SELECTORS.get(submission.method)
    method = selector or DISTILLERS.get(submission.method)
    assert made_by.version == (method.version if method else 1)
    assert made_by.command.split()[2] == submission.method
    if (selector and selector.needs == "dynamics") or submission.method == "ca2d":
        student = {"digits": "resnet18", "tiny-imagenet": "convnet-d4"}[submission.dataset]
        named, _, sha256 = made_by.protocol.partition(" sha256:")
        assert named == f"{submission.dataset}/{student}-hl/v1"
        assert sha256 == find_protocol(ROOT, named).sha256
        assert made_by.recorded_by.startswith(f"hlbench dynamics record --dataset {submission.dataset} --protocol {named} ")
        read = (selector or SELECTORS["cad-prune"]).files(made_by.parameters)
        assert [name.rpartition("/")[2] for name in made_by.inputs if name.startswith("dynamics/")] == read
    else:
        assert made_by.protocol is made_by.recorded_by is None


def test_sets_that_need_the_split_alone_say_how_they_were_made_too(root):
    made = [
        make_coreset(root, "random", "digits", 1),
        make_full(root, "digits", 1),
        make_distilled(root, "kmeans-centroids", "digits", 1),
    ]
    assert [one.made_by.version for one in made] == [1, 1, 1]
    assert {one.made_by.split_fingerprint for one in made} == {load_split("digits", "train").fingerprint}
    assert made[1].made_by.command == "hlbench select full-dataset --dataset digits --ipc 1"


def test_the_protocol_is_that_of_the_recordings_spec(root):
    spec = read_spec(root / "dynamics" / RECORDING)
    assert cad(root).made_by.protocol == f"{spec.protocol} sha256:{spec.protocol_sha256}"


def test_the_notes_say_which_run_was_used_and_to_what_it_was_matched(root):
    assert cad(root, 10).notes.endswith("Scored by a run of digits/resnet18-hl/v1 matched to IPC 10.")
    assert cad(root, 1).notes.endswith("Scored by a run of digits/resnet18-hl/v1 matched to IPC 10, not to 1.")
    whole = read_spec(ROOT / "dynamics/digits/resnet18-hl-v1-full")
    assert scored_by(whole, 10) == "Scored by a run of digits/resnet18-hl/v1 over 60 epochs of the whole split."
    other = read_spec(root / "dynamics" / RECORDING).model_copy(update={"epochs": 3.0})
    assert "matched" not in scored_by(other, 10)
    made = make_distilled(root, "ca2d", "digits", 1, dynamics=RECORDING)
    assert made.notes.endswith("matched to IPC 10, not to 1.")


@pytest.mark.parametrize("name", ["cal", "graphcut"])
def test_selectors_of_deepcore_say_that_their_scoring_model_is_not_deepcores(name):
    assert "DeepCore's has SGD at a constant 0.1 for 40 epochs" in SELECTORS[name].notes


def test_draws_that_repeat_another_are_told_in_the_notes_and_to_whoever_makes_them(root, hlbench):
    code, _, said = hlbench("select", "kmeans-nearest", "--dataset", "digits", "--ipc", "1", "--draws", "3")
    assert (code, said.strip()) == (0, "Draws that repeat another one: 2 of 3.")
    assert "repeat another one: 2 of 3." in read_submission(root / "submissions/kmeans-nearest/digits-ipc1.yaml").notes
    assert "repeat" not in make_coreset(root, "kmeans-nearest", "digits", 5, 2).notes


# What verifying holds


SELECT = "hlbench select cad-prune --dataset digits"
RECORD = "hlbench dynamics record --dataset digits --protocol digits/resnet18-hl/v1 --ipc 10 --snapshots 8 --seed 0 --device cpu"


@pytest.mark.parametrize(
    ("changed", "key", "why"),
    [
        ({"version": 7}, "version", "7 here, 1 when it is made again"),
        ({"version": None}, "version", "nothing here, 1 when it is made again"),
        ({"protocol": f"digits/resnet18-sl/v1 sha256:{'ab' * 32}"}, "protocol", "digits/resnet18-sl/v1"),
        ({"protocol": None}, "protocol", "nothing here"),
        ({"recorded_by": "hlbench dynamics record --dataset cifar10"}, "recorded_by", "cifar10 here"),
        ({"split_fingerprint": "0" * 64}, "split_fingerprint", "000 here"),
        ({"recorded_by": RECORD.replace("seed 0", "seed 1")}, "recorded_by", "--seed 1 here"),
        ({"recorded_by": RECORD.replace("ipc 10", "ipc 5")}, "recorded_by", "--ipc 5 --seed 0 here"),
        ({"parameters": {"J": 4, "W": 2}}, "parameters.J", "4 here, 6 when"),
        ({"parameters": {"J": None, "W": 2}}, "parameters.J", "nothing here, 6 when"),
        ({"parameters": {"J": 6, "W": 2, "X": 1}}, "parameters.X", "1 here, nothing when"),
        ({"command": f"{SELECT} --ipc 3 --draws 1 --dynamics {RECORDING}"}, "command", "--ipc 3"),
        ({"command": f"{SELECT} --ipc 2 --draws 1 --dynamics digits/a"}, f"inputs.dynamics/{RECORDING}/el2n.npy", "nothing when"),
    ],
    ids=str,
)
def test_a_false_word_on_how_a_set_was_made_is_found_out_and_named(root, changed, key, why):
    path = root / cad(root).relative_path
    change(path, **changed)
    with pytest.raises(CheckFailed, match="not what its method writes") as caught:
        verify_submission(root, path)
    assert caught.value.where == f"{path}: made_by.{key}"
    assert why in caught.value.why


def test_a_set_that_does_not_say_how_it_was_made_is_not_what_its_method_writes(root):
    path = root / make_coreset(root, "random", "digits", 1).relative_path
    path.write_text(yaml.safe_dump({key: value for key, value in yaml.safe_load(path.read_text()).items() if key != "made_by"}))
    with pytest.raises(CheckFailed) as caught:
        verify_submission(root, path)
    assert caught.value.where.endswith(": made_by")


def test_what_describes_a_set_may_be_mended_and_nothing_that_decides_one(root):
    path = root / cad(root).relative_path
    keys = yaml.safe_load(path.read_text())
    described = {"title": "Mine", "authors": ["A", "B"], "licence": "MIT", "contact": "me", "notes": "", "code": "https://a.b/c"}
    path.write_text(yaml.safe_dump({**keys, **described, "paper": "https://arxiv.org/abs/1"}))
    assert "its YAML in all but title, authors" in verify_submission(root, path)
    for other in ({"split_fingerprint": "0" * 64}, {"sets": [{**keys["sets"][0], "content_sha256": "0" * 64}]}):
        path.write_text(yaml.safe_dump({**keys, **other}))
        with pytest.raises(CheckFailed) as caught:
            verify_submission(root, path)
        assert caught.value.where == f"{path}: {next(iter(other))}"


def test_a_slug_that_is_the_methods_name_is_none_and_verifies(root):
    assert cad(root, slug="cad-prune") == cad(root)
    assert "--slug" not in cad(root).made_by.command
    other = cad(root, slug="mine")
    assert "--slug mine" in other.made_by.command
    for made in (cad(root), other):
        assert "every byte the same" in verify_submission(root, root / made.relative_path)


def test_a_recording_outside_project_and_cache_is_named_by_its_whole_path_and_verifies_from_anywhere(root, tmp_path, monkeypatch):
    outside = shutil.copytree(ROOT / "dynamics" / RECORDING, tmp_path / "my runs" / "it's one")
    monkeypatch.chdir(outside.parent)
    made = cad(root, dynamics=outside.name)  # as it was typed there
    assert made.made_by.command.endswith("""/my runs/it'"'"'s one'""")
    assert list(made.made_by.inputs) == ["dynamics/my runs/it's one/el2n.npy"]
    monkeypatch.chdir(root)
    assert "every byte the same" in verify_submission(root, root / made.relative_path)
    shutil.rmtree(outside)  # as on every other machine
    assert "every byte the same" in verify_submission(root, root / made.relative_path)
    shutil.rmtree(root / "dynamics")
    with pytest.raises(EnvironmentProblem) as caught:
        verify_submission(root, root / made.relative_path)
    assert made.made_by.recorded_by + " --out '" in caught.value.fix


def test_a_recording_of_the_cache_behind_one_of_the_same_name_is_not_mistaken_for_it(root):
    cached = shutil.copytree(ROOT / "dynamics/digits/resnet18-hl-v1-ipc5", root / "cache/dynamics" / RECORDING)
    made = cad(root, dynamics=str(cached))
    assert f"--dynamics {cached}" in made.made_by.command
    assert "every byte the same" in verify_submission(root, root / made.relative_path)


def test_a_recording_that_lies_here_under_another_name_verifies_the_set(root):
    made = cad(root)
    (root / "cache/dynamics/digits").mkdir(parents=True)
    (root / "dynamics" / RECORDING).rename(root / "cache/dynamics/digits/resnet18-hl-v1-ipc10-s8-seed0")
    assert "every byte the same" in verify_submission(root, root / made.relative_path)


def test_a_recording_whose_name_no_submission_can_hold_is_refused_with_the_reason(root):
    odd = shutil.copytree(ROOT / "dynamics" / RECORDING, root / "elsewhere" / "läufe")
    with pytest.raises(UsageError, match="a name that a submission cannot hold"):
        cad(root, dynamics=str(odd))


@pytest.mark.parametrize("named", ["../../outside", "digits/..", "digits/../x", "", "digits", "a/b/c"])
def test_a_name_that_leads_elsewhere_is_not_followed(root, named):
    made = cad(root)
    command = made.made_by.command.replace(f"--dynamics {RECORDING}", f"--dynamics '{named}'")
    change(root / made.relative_path, command=command)
    with pytest.raises(SubmissionError, match="does not say how to make the set again"):
        verify_submission(root, root / made.relative_path)


def recorded_otherwise(folder: Path, **changes) -> None:
    """`folder` as a recording of another spec, whose own hash is then another."""
    before = read_spec(folder).sha256
    spec = json.loads((folder / "spec.json").read_text())
    (folder / "spec.json").write_text(json.dumps({**spec, **changes}))
    assert changes.keys() == {"made"} or read_spec(folder).sha256 != before


def spoilt(folder: Path, name: str) -> None:
    """One number of an array becomes another, and the spec says so."""
    array = np.load(folder / name, mmap_mode="r+", allow_pickle=False)
    array[0, 0] = array[0, 1] if array[0, 0] != array[0, 1] else 1 - array[0, 0]
    array.flush()
    files = json.loads((folder / "spec.json").read_text())["files"]
    recorded_otherwise(folder, files={**files, name: file_sha256(folder / name)})


def test_a_set_names_the_arrays_it_was_selected_by_as_the_recording_lists_them(root):
    files = read_spec(root / "dynamics" / RECORDING).files
    assert cad(root).made_by.inputs == {f"dynamics/{RECORDING}/el2n.npy": files["el2n.npy"]}
    facility = make_coreset(root, "cad-facility", "digits", 1, dynamics=RECORDING)
    assert facility.made_by.inputs == {f"dynamics/{RECORDING}/{name}": files[name] for name in ("features.npy", "el2n.npy")}
    ca2d = make_distilled(root, "ca2d", "digits", 1, dynamics=RECORDING)
    assert list(ca2d.made_by.inputs) == ["teachers/digits/convnet-d3", f"dynamics/{RECORDING}/el2n.npy"]


def test_a_recording_whose_other_arrays_differ_verifies_the_set(root):
    made = cad(root)
    spoilt(root / "dynamics" / RECORDING, "presented.npy")
    assert "every byte the same" in verify_submission(root, root / made.relative_path)
    spoilt(root / "dynamics" / RECORDING, "el2n.npy")
    with pytest.raises(EnvironmentProblem, match="is not here") as caught:
        verify_submission(root, root / made.relative_path)
    assert f"el2n.npy of sha256 {made.made_by.inputs[f'dynamics/{RECORDING}/el2n.npy'][:12]}" in caught.value.why


def test_a_recording_of_the_same_arrays_on_another_machine_and_with_others_beside_them_verifies_the_set(root):
    made = cad(root)
    folder = root / "dynamics" / RECORDING
    machine = json.loads((folder / "spec.json").read_text())["made"]
    recorded_otherwise(folder, made={**machine, "threads": 4, "device": "cuda:0"})
    assert "--device cuda --threads 4" in record_command(read_spec(folder))
    assert "every byte the same" in verify_submission(root, root / made.relative_path)


def test_of_two_recordings_of_one_name_the_one_with_the_right_arrays_is_taken(root):
    cached = shutil.copytree(root / "dynamics" / RECORDING, root / "cache/dynamics" / RECORDING)
    made = cad(root)
    spoilt(root / "dynamics" / RECORDING, "el2n.npy")
    assert "every byte the same" in verify_submission(root, root / made.relative_path)
    spoilt(cached, "el2n.npy")
    with pytest.raises(EnvironmentProblem, match="is not here"):
        verify_submission(root, root / made.relative_path)


def test_what_a_parameter_that_nobody_named_stood_for_is_on_record(root):
    assert cad(root).made_by.parameters == {"J": 6, "W": 2}
    assert "--param" not in cad(root).made_by.command
    dual = make_coreset(root, "dual-beta", "digits", 1, dynamics=RECORDING, parameters={"J": "4"})
    assert dual.made_by.parameters == {"c": 4.0, "J": 4, "T": 8}
    assert "--param J=4 --dynamics" in dual.made_by.command
    ca2d = make_distilled(root, "ca2d", "digits", 1, dynamics=RECORDING)
    smallest = np.bincount(load_split("digits", "train").labels).min()
    assert ca2d.made_by.parameters == {"factor": 1, "pool": -(-smallest * 3 // 5), "crops": 5, "J": 6, "W": 2}
    rded = make_distilled(root, "rded", "digits", 1, parameters={"factor": 2})
    assert rded.made_by.parameters["factor"] == 2
    for made in (dual, ca2d, rded):
        assert "every byte the same" in verify_submission(root, root / made.relative_path)


def test_windows_are_told_in_epochs_where_their_papers_count_epochs(root):
    dual = make_coreset(root, "dual", "digits", 1, dynamics=RECORDING, parameters={"J": 4, "T": 6}).notes
    epochs = read_spec(root / "dynamics" / RECORDING).epochs
    assert f"A window of J = 4 snapshots is {epochs / 2:.4g} of the run's {epochs:.4g} epochs" in dual
    assert f"T = 6 counts the first {0.75 * epochs:.4g} of them" in dual
    assert "stop at 30 of 200" in dual
    whole = read_spec(ROOT / "dynamics/digits/resnet18-hl-v1-full")
    assert windows_in_epochs(whole, 10, 30).startswith(
        "A window of J = 10 snapshots is 20 of the run's 60 epochs, and T = 30 counts all"
    )
    assert "T =" not in windows_in_epochs(whole, 10)
    assert "A window of" not in cad(root).notes


# The command that records again


def test_a_recording_that_is_not_here_is_answered_with_the_command_that_records_it(root):
    made = cad(root)
    shutil.rmtree(root / "dynamics")
    with pytest.raises(EnvironmentProblem) as caught:
        verify_submission(root, root / made.relative_path)
    options = "--dataset digits --protocol digits/resnet18-hl/v1 --ipc 10 --snapshots 8 --seed 0 --device cpu"
    assert caught.value.fix == f"record it again: hlbench dynamics record {options}"


@pytest.mark.parametrize("folder", RECORDINGS, ids=lambda folder: folder.name)
def test_the_command_records_the_very_run(folder, hlbench, monkeypatch):
    spec, planned = read_spec(folder), []

    def no_training(scoring, folder, device, report):
        planned.append(scoring.run)
        raise UsageError("planned, and not trained")

    monkeypatch.setattr(record, "record_dynamics", no_training)
    hlbench(*record_command(spec).split()[1:])
    assert planned == [spec.run]


def test_another_number_of_epochs_is_in_the_command():
    spec = read_spec(ROOT / "dynamics" / RECORDING)
    assert "--epochs" not in record_command(spec)
    assert "--ipc 10 --epochs 0.1 --snapshots 8" in record_command(spec.model_copy(update={"epochs": 0.1}))
    made = spec.made.model_copy(update={"threads": 3, "device": "cuda:1"})
    assert record_command(spec.model_copy(update={"made": made})).endswith("--seed 0 --device cuda --threads 3")


@pytest.mark.parametrize(
    "command",
    [
        "hlbench dynamics record --dataset digits; rm -rf ~",
        "hlbench dynamics record --dataset $(id)",
        "hlbench dynamics record --dataset digits --out /etc",
        "hlbench dynamics record",
        "curl https://evil.example",
    ],
)
def test_a_command_that_a_user_is_told_to_run_holds_nothing_but_a_recordings_options(root, command):
    path = root / cad(root).relative_path
    change(path, recorded_by=command)
    with pytest.raises(SubmissionError, match="schema"):
        read_submission(path)


# Options that would be ignored


@pytest.mark.parametrize(
    ("arguments", "unused"),
    [
        (["random", "mine.npy"], "FILE"),
        (["random", "--order", "highest"], "--order"),
        (["random", "--window", "0"], "--window"),
        (["random", "--author", "Me"], "--author"),
        (["full-dataset", "--draws", "3", "--slug", "x"], "--draws, --slug"),
        (["full-dataset", "--param", "a=1"], "--param"),
        (["from-scores", "mine.npy", "--draws", "3"], "--draws"),
        (["from-scores", "mine.npy", "--dynamics", RECORDING], "--dynamics"),
        (["from-scores", "mine.npy", "--param", "beta=0.1"], "--param"),
        (["el2n-best", "--dynamics", RECORDING, "--order", "lowest"], "--order"),
    ],
    ids=str,
)
def test_an_option_that_would_change_nothing_is_refused(root, hlbench, arguments, unused):
    code, _, said = hlbench("select", *arguments, "--dataset", "digits", "--ipc", "1")
    assert code == 2
    assert f"{arguments[0]} uses no {unused}" in said
    assert not (root / "submissions").exists()


@pytest.mark.parametrize(("option", "value"), [("--observer", "digits/convnet-d3"), ("--dynamics", RECORDING)])
def test_a_distillation_refuses_what_it_does_not_use(root, hlbench, option, value):
    code, _, said = hlbench("distill", "kmeans-centroids", "--dataset", "digits", "--ipc", "1", option, value)
    assert (code, f"kmeans-centroids uses no {option}" in said) == (2, True)


def test_verifying_takes_no_option_of_making(root, hlbench):
    made = make_coreset(root, "random", "digits", 1)
    code, _, said = hlbench("select", "--verify", made.relative_path, "--ipc", "2")
    assert (code, "--verify uses no --ipc" in said) == (2, True)


# Scores of an author


def test_a_set_from_scores_is_its_authors_and_says_so(root, hlbench):
    np.save(root / "mine.npy", np.arange(898.0))
    options = ["mine.npy", "--dataset", "digits", "--ipc", "2", "--order", "lowest", "--slug", "mine"]
    code, _, said = hlbench("select", "from-scores", *options)
    assert (code, "--author" in said) == (2, True)
    code, _, said = hlbench("select", "from-scores", *options, "--author", "Zoë Žižek", "--author", "B. Coauthor")
    assert (code, said) == (0, "")
    made = read_submission(root / "submissions/mine/digits-ipc2.yaml")
    assert made.authors == ("Zoë Žižek", "B. Coauthor")
    assert made.made_by.version == 1
    assert hlbench("select", "from-scores", "mine.npy", "--verify", made.relative_path)[0] == 0
    assert made.made_by.command.endswith(" --slug mine --author 'Zoë Žižek' --author 'B. Coauthor'")
    text = (root / made.relative_path).read_text()
    (root / made.relative_path).write_text(text.replace("B. Coauthor", "C. Coauthor"))
    assert hlbench("select", "from-scores", "mine.npy", "--verify", made.relative_path)[0] == 0


@pytest.mark.parametrize("name", ["mine.npy", "-mine.npy", "--author.npy", "it's mine.npy"])
def test_the_command_of_a_set_from_scores_gives_the_same_bytes_when_it_is_pasted(root, hlbench, name):
    np.save(root / name, np.arange(898.0))
    authors = ["Zoë Žižek", '-O\'Neil, "$HOME" & `id`']
    made = make_from_scores(root, root / name, "digits", 1, "lowest", 0.25, "mine", authors)
    before = (root / made.relative_path).read_bytes()
    shutil.rmtree(root / "submissions")
    code, _, said = hlbench(*shlex.split(made.made_by.command)[1:])
    assert (code, said) == (0, "")
    assert (root / made.relative_path).read_bytes() == before
    assert "every byte the same" in verify_submission(root, root / made.relative_path, None, root / name)


def test_a_command_that_names_no_author_is_found_out(root):
    np.save(root / "mine.npy", np.arange(898.0))
    made = make_from_scores(root, root / "mine.npy", "digits", 1, "lowest", 0.0, "mine", ["Me"])
    change(root / made.relative_path, command=made.made_by.command.replace(" --author Me", ""))
    with pytest.raises(CheckFailed) as caught:
        verify_submission(root, root / made.relative_path, None, root / "mine.npy")
    assert caught.value.where.endswith("made_by.command")


@pytest.mark.parametrize("author", ["two\nlines", "turned\u202earound", "\x1b[31m"])
def test_an_author_that_no_command_can_hold_is_refused_with_the_reason(root, author):
    np.save(root / "mine.npy", np.arange(898.0))
    with pytest.raises(UsageError, match="a name that a submission's command cannot hold"):
        make_from_scores(root, root / "mine.npy", "digits", 1, "lowest", 0.0, "mine", ["Me", author])
    assert not (root / "submissions").exists()


@pytest.mark.parametrize("slug", ["random", "cad-prune", "rded", "full-dataset", "from-scores"])
def test_a_set_does_not_lie_under_the_name_of_another_method(root, slug):
    with pytest.raises(UsageError, match=f"{slug} is the name of another method") as caught:
        make_coreset(root, "graphcut", "digits", 1, slug=slug, dynamics=RECORDING)
    assert caught.value.where == "--slug"
    np.save(root / "mine.npy", np.arange(898.0))
    if slug != "from-scores":
        with pytest.raises(UsageError, match="another method"):
            make_from_scores(root, root / "mine.npy", "digits", 1, "lowest", 0.0, slug, ["Me"])
        with pytest.raises(UsageError, match="another method"):
            make_distilled(root, "kmeans-centroids", "digits", 1, slug=slug)
    assert not (root / "submissions").exists()


def test_the_names_of_distillation_methods_that_are_refused_are_all_of_them():
    assert tuple(DISTILLERS) == reference.DISTILLED


@pytest.mark.parametrize("name", ["schärfe.npy", "new\nline.npy"])
def test_a_score_file_whose_name_no_submission_can_hold_is_refused_with_the_reason(root, name):
    np.save(root / name, np.arange(898.0))
    with pytest.raises(UsageError, match="a name that a submission cannot hold") as caught:
        make_from_scores(root, root / name, "digits", 1, "lowest", 0.0, "mine", ["Me"])
    assert "rename it" in caught.value.fix
