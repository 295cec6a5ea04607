import json
import subprocess
import sys
import urllib.error

import pytest
from command_line import caller
from runner_checkout import PROTOCOL, fake_outcome, fake_set, make_checkout

from harness import doctor, work
from harness.records import read_records

NAMES = ("demo", "validate", "hash", "fingerprint", "plan", "run", "leaderboard", "select", "distill", "show", "doctor")
VERBS = [(), *[(name,) for name in NAMES]]
PROTOCOL_VERBS = [("protocols", verb) for verb in ("list", "show", "verify", "freeze", "diff")]
TEACHER_VERBS = [("teacher", verb) for verb in ("train", "list", "verify")]
RANDOM = "submissions/random/digits-ipc1.yaml"
CENTROIDS = "submissions/kmeans-centroids/digits-ipc1.yaml"


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A small checkout, in which the command is started."""
    monkeypatch.setenv("HLBENCH_CACHE", str(tmp_path / "cache"))
    for name in ("HLBENCH_DATA", "HLBENCH_DEBUG", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "")  # so that what the command sets is undone
    root = make_checkout(tmp_path)
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def hlbench(root, monkeypatch, capsys):
    """Runs `hlbench ARGUMENTS`; returns (exit code, standard output, standard error)."""
    return caller(monkeypatch, capsys)


@pytest.fixture
def without_training(monkeypatch):
    import harness.training.evaluate_set as module

    monkeypatch.setattr(module, "train_and_evaluate", fake_outcome)
    monkeypatch.setattr(work, "load_set", fake_set)


def modules_after(root, *arguments):
    """Names of the modules a fresh process holds after `hlbench ARGUMENTS`."""
    code = (
        "import sys\nfrom harness.cli import main\ntry:\n    main()\nexcept SystemExit as ended:\n"
        "    print(ended.code, *sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=root, capture_output=True, text=True, check=True)
    code, *names = done.stderr.split()
    assert code in ("0", "None"), done.stderr
    return set(names)


# Help


@pytest.mark.parametrize("verb", VERBS + PROTOCOL_VERBS + TEACHER_VERBS, ids=" ".join)
def test_every_verb_explains_itself_with_an_example(hlbench, verb):
    code, output, _ = hlbench(*verb, "--help")
    assert code == 0
    assert "Example: hlbench" in output or verb == ()


def test_help_imports_nothing_heavy(root):
    names = modules_after(root, "--help")
    assert not names & {"torch", "numpy", "pandas", "scipy", "pyarrow", "huggingface_hub", "rich", "pydantic"}


@pytest.mark.parametrize(
    "verb", [("protocols", "list"), ("protocols", "verify"), ("plan", RANDOM), ("hash", RANDOM)], ids=" ".join
)
def test_verbs_about_files_import_no_science(root, verb):
    if verb[0] == "hash":
        verb = ("hash", "submissions/random/digits-ipc1")
    assert not modules_after(root, *verb) & {"torch", "numpy", "pandas", "scipy", "pyarrow", "huggingface_hub"}


def test_validate_imports_neither_torch_nor_the_hub_client_for_local_sets(root):
    assert not modules_after(root, "validate", RANDOM) & {"torch", "pandas", "scipy", "huggingface_hub"}


def test_leaderboard_does_not_import_torch(root):
    (root / "leaderboards" / "results").mkdir(parents=True, exist_ok=True)
    assert "torch" not in modules_after(root, "leaderboard")


# Errors


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("run", "nowhere.yaml"), 2, "no submission file found"),
        (("run", RANDOM, "--seeds", "0,one"), 2, "--seeds"),
        (("run", RANDOM, "--seeds", "99"), 2, "seed 99"),
        (("run", RANDOM, "--shard", "2"), 2, "i/N"),
        (("run", RANDOM, "--shard", "3/2"), 2, "3/2"),
        (("run", RANDOM, "--device", "gpu"), 2, "cuda:<i>"),
        (("run", RANDOM, "--device", "cuda:"), 2, "cuda:<i>"),
        (("run", RANDOM, "--protocol", "digits/nothing-hl/v1"), 2, "digits/resnet18-hl/v1"),
        (("run", RANDOM, "--workers", "0"), 2, "--workers"),
        (("run", RANDOM, "--epochs", "1"), 2, "--epochs"),
        (("leaderboard", "--format", "pdf"), 2, "csv"),
        (("demo", "--ipc", "7"), 2, "1,5,10"),
        (("protocols", "show", "digits"), 2, "digits/resnet18-hl/v1"),
        (("hash", "nowhere"), 1, "nothing to hash"),
    ],
)
def test_a_mistake_ends_with_its_exit_code_and_says_what_to_do(hlbench, arguments, code, said):
    found, _, error = hlbench(*arguments)
    assert found == code
    assert said in error
    assert "Traceback" not in error


def test_outside_a_checkout_is_an_environment_problem(hlbench, tmp_path, monkeypatch):
    from harness import paths

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "site-packages" / "harness" / "paths.py"))
    code, _, error = hlbench("protocols", "list")
    assert code == 3
    assert "clone" in error


def test_an_unforeseen_error_is_one_line_unless_debugging(hlbench, monkeypatch):
    from harness import freeze

    monkeypatch.setattr(freeze, "summaries", lambda root: 1 / 0)
    code, _, error = hlbench("protocols", "list")
    assert (code, "Traceback" in error, "--debug" in error) == (1, False, True)
    assert "Traceback" in hlbench("protocols", "list", "--debug")[2]


# Validate and hash


def test_validate_passes_a_shipped_submission_and_lists_its_draws(hlbench):
    code, output, _ = hlbench("validate", RANDOM, "--json")
    assert code == 0
    assert {"schema", "place", "dataset", "draw 0", "draw 1", "draw 2"} == {row["check"] for row in json.loads(output)["checks"]}


def test_validate_fetch_adds_an_audit_of_every_draw(hlbench):
    code, output, _ = hlbench("validate", CENTROIDS, "--fetch", "--json")
    assert code == 0
    (facts,) = json.loads(output)["audits"]
    assert (facts["images"], facts["duplicate_images"]) == (10, 0)


def test_validate_prints_the_actual_content_hash_which_is_that_of_hash(hlbench, root):
    changed = "submissions/random/digits-ipc1/draw1.json"
    (root / changed).write_text('{"rows": [0]}')
    actual = hlbench("hash", changed)[1].strip()
    code, _, error = hlbench("validate", RANDOM)
    assert code == 1
    assert len(actual) == 64
    assert f"content_sha256: {actual}" in error


def test_a_hash_of_a_folder_is_what_a_submission_of_that_folder_must_say(hlbench, root):
    folder = "submissions/random/digits-ipc1"
    actual = hlbench("hash", folder)[1].strip()
    head, _ = (root / RANDOM).read_text().split("sets:\n")
    (root / RANDOM).write_text(f"{head}sets:\n- path: {folder}\n  content_sha256: {actual}\n")
    assert hlbench("validate", RANDOM)[0] == 0


def test_validate_goes_on_after_a_broken_file(hlbench, root):
    (root / RANDOM).write_text("title: [")
    code, output, _ = hlbench("validate", RANDOM, CENTROIDS, "--json")
    assert code == 1
    checks = json.loads(output)["checks"]
    assert [row["result"] for row in checks if row["submission"] == RANDOM] == ["FAILED"]
    assert all(row["result"] == "ok" for row in checks if row["submission"] == CENTROIDS)


def test_validate_refuses_a_file_outside_the_submissions_folder(hlbench, root, tmp_path):
    stray = tmp_path / "random" / "digits-ipc1.yaml"
    stray.parent.mkdir()
    stray.write_bytes((root / RANDOM).read_bytes())
    code, _, error = hlbench("validate", str(stray))
    assert code == 1
    assert "wrong place" in error


def test_validate_refuses_a_dataset_nobody_knows(hlbench, root):
    path = root / "submissions/random/mnist-ipc1.yaml"
    path.write_text((root / RANDOM).read_text().replace("dataset: digits", "dataset: mnist"))
    code, _, error = hlbench("validate", str(path))
    assert code == 1
    assert "mnist-ipc1.yaml: dataset" in error
    assert "tiny-imagenet" in error


def test_leaderboard_never_replaces_a_file_it_did_not_write(hlbench, root):
    (root / "myresults").mkdir()
    (root / "README.md").write_text("mine")
    code, _, error = hlbench("leaderboard", "--results", str(root / "myresults"))
    assert code == 2
    assert "README.md" in error
    assert (root / "README.md").read_text() == "mine"


def test_a_mistyped_results_folder_is_an_error_and_removes_no_page(hlbench, root):
    code, _, error = hlbench("leaderboard", "--results", str(root / "leaderboards" / "result"))
    assert code == 2
    assert "no such folder of records" in error


def test_leaderboard_stops_when_a_frozen_protocol_was_edited_or_lost(hlbench, root):
    (root / "leaderboards" / "results").mkdir(parents=True, exist_ok=True)
    (root / "protocols" / f"{PROTOCOL}.yaml").unlink()
    for arguments in (("leaderboard",), ("leaderboard", "--check")):
        code, _, error = hlbench(*arguments)
        assert code == 1
        assert PROTOCOL in error


def test_a_folder_that_cannot_be_written_is_the_machines_problem(hlbench, root):
    (root / "leaderboards" / "results").mkdir(parents=True, exist_ok=True)
    (root / "afile").write_text("")
    code, _, error = hlbench("leaderboard", "--out", str(root / "afile"))
    assert code == 3
    assert "afile" in error


def test_validate_offline_asks_nothing_of_the_hub(hlbench, root, monkeypatch):
    from harness import hub

    monkeypatch.setattr(hub, "list_set", lambda *_: pytest.fail("asked the Hub"))
    head, _ = (root / RANDOM).read_text().split("sets:\n")
    source = f"- repo: org/set\n  revision: {'a' * 40}\n  files: [x.json]\n  content_sha256: {'b' * 64}\n"
    (root / RANDOM).write_text(f"{head}sets:\n{source}")
    code, output, _ = hlbench("validate", RANDOM, "--offline")
    assert code == 0
    assert "not looked at" in output


# Plan, run, leaderboard


def test_plan_counts_units_and_admits_what_it_does_not_know(hlbench):
    code, output, _ = hlbench("plan", RANDOM)
    assert code == 0
    assert "15 units: 15 missing. Sets to download: 0 B" in output
    assert "Training: unknown" in output


def test_run_then_plan_then_leaderboard_agree(hlbench, root, without_training):
    code, output, _ = hlbench("run", RANDOM, CENTROIDS, "--seeds", "0,1", "--device", "cpu", "--workers", "1")
    assert code == 0
    assert output.splitlines()[-1] == "8 units: 0 were done, 8 done now."
    planned = json.loads(hlbench("plan", RANDOM, "--seeds", "0,1", "--device", "cpu", "--json")[1])
    assert {row["state"] for row in planned["units"]} == {"done"}
    assert hlbench("leaderboard", "--check")[0] == 1
    assert hlbench("leaderboard")[0] == 0
    assert hlbench("leaderboard", "--check")[0] == 0
    rows = json.loads(hlbench("leaderboard", "--format", "json")[1])["rows"]
    assert {row["slug"] for row in rows} == {"random", "kmeans-centroids"}


def test_leaderboard_check_names_what_is_stale(hlbench, root, without_training):
    hlbench("run", CENTROIDS, "--seeds", "0", "--device", "cpu", "--workers", "1")
    hlbench("leaderboard")
    page = root / "leaderboards" / "digits.md"
    page.write_text(page.read_text() + "edited by hand\n")
    code, _, error = hlbench("leaderboard", "--check")
    assert code == 1
    assert "digits.md" in error


def test_run_json_keeps_standard_output_for_programs(hlbench, without_training):
    code, output, error = hlbench("run", CENTROIDS, "--seeds", "0", "--device", "cpu", "--workers", "1", "--json")
    assert code == 0
    assert json.loads(output)["done_now"] == ["kmeans-centroids/digits-ipc1 draw0 resnet18-hl-v1 seed0"]
    assert "[1/1]" in error


def test_the_shards_of_a_run_do_all_units_once(hlbench, root, without_training):
    for shard in ("1/2", "2/2"):
        assert hlbench("run", RANDOM, "--shard", shard, "--device", "cpu", "--workers", "1")[0] == 0
    assert len(read_records(root / "leaderboards" / "results")) == 15


def test_a_failed_submission_is_told_in_full_and_exits_with_1(hlbench, root):
    (root / "submissions/random/digits-ipc1/draw0.json").write_text("[]")
    code, output, _ = hlbench("run", RANDOM, "--seeds", "0", "--device", "cpu", "--workers", "1")
    assert code == 1
    assert "FAILED random/digits-ipc1 draw0" in output
    assert "content_sha256" in output
    assert "1 errors; the same command tries again" in output


@pytest.fixture
def one_thread():
    """Threads that wait for each other make a small student many times slower on a busy machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_real_student_is_trained_and_shown_on_the_board(hlbench, root, one_thread):
    code, _, _ = hlbench("run", CENTROIDS, "--seeds", "0", "--device", "cpu", "--workers", "1")
    assert code == 0
    ((_, record),) = read_records(root / "leaderboards" / "results")
    assert record.status == "ok"
    assert record.result.top1 > 40  # guessing gives 10
    assert hlbench("leaderboard")[0] == 0
    assert f"{record.result.top1:.2f}" in (root / "leaderboards" / "digits.md").read_text()


# Demo


def test_the_demo_resumes_and_writes_its_board_beside_its_records(hlbench, root, without_training, monkeypatch):
    from harness import demo

    monkeypatch.setattr(demo, "DRAWS", {"random": (0,), "kmeans-centroids": (0,)})
    arguments = ("demo", "--ipc", "1", "--workers", "1", "--device", "cpu")
    code, output, _ = hlbench(*arguments)
    assert code == 0
    assert "12 units: 0 were done, 12 done now." in output
    assert "Class-wise k-means centroids" in output
    assert "SL+KD top-1 %" in output
    assert "measured under HL, SL and SL+KD" in output
    assert "runs/demo/digits.md" in output
    assert (root / "runs/demo/digits.md").is_file()
    assert "12 units: 12 were done, 0 done now." in hlbench(*arguments)[1]
    assert "12 units: 0 were done, 12 done now." in hlbench(*arguments, "--fresh")[1]


# Protocols and doctor


def test_protocols_show_gives_every_value_with_its_provenance(hlbench):
    rows = {row["key"]: row for row in json.loads(hlbench("protocols", "show", PROTOCOL, "--json")[1])}
    assert rows["optimizer.lr"]["value"] == "0.005"
    assert rows["optimizer.lr"]["from"] in ("paper", "official-code", "inferred")


def test_protocols_diff_shows_only_what_differs(hlbench):
    _, output, _ = hlbench("protocols", "diff", "cifar10/resnet18-hl/v1", "cifar100/resnet18-hl/v1", "--json")
    keys = {row["key"] for row in json.loads(output)}
    assert "dataset.classes" in keys
    assert "evaluation.epoch" not in keys


def test_protocols_verify_fails_after_an_edit(hlbench, root):
    assert hlbench("protocols", "verify")[0] == 0
    path = root / "protocols" / f"{PROTOCOL}.yaml"
    path.write_text(path.read_text().replace("value: 0.005", "value: 0.5"))
    code, _, error = hlbench("protocols", "verify")
    assert code == 1
    assert "edited" in error


def test_doctor_names_every_dataset_and_exits_0_when_only_options_are_missing(hlbench):
    code, output, _ = hlbench("doctor", "--offline", "--json")
    findings = {row["item"]: row for row in json.loads(output)}
    assert code == 0
    assert {"python", "torch", "checkout", "memory", "GPU", "C++ compiler", "cache folder", "Hub"} <= set(findings)
    assert findings["dataset cifar10"]["status"] == "optional"
    assert "HLBENCH_DATA" in findings["dataset cifar10"]["how_to_get"]


def test_doctor_finds_local_data(hlbench, tmp_path, monkeypatch):
    for name in ("train", "test"):
        path = tmp_path / "data" / "cifar10" / "plain_text" / f"{name}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.setenv("HLBENCH_DATA", str(tmp_path / "data"))
    findings = {row["item"]: row for row in json.loads(hlbench("doctor", "--offline", "--json")[1])}
    assert findings["dataset cifar10"]["status"] == "ok"
    assert findings["dataset cifar100"]["status"] == "optional"


def test_doctor_exits_3_when_something_required_is_missing(hlbench, monkeypatch):
    monkeypatch.setattr(doctor, "package_version", lambda name: None if name == "pyarrow" else "1.0")
    code, output, _ = hlbench("doctor", "--offline")
    assert code == 3
    assert "pip install 'pyarrow'" in output


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (urllib.error.HTTPError("", 401, "no", None, None), "ok"),
        (urllib.error.URLError("no route"), "optional"),
        (TimeoutError(), "optional"),
    ],
)
def test_doctor_counts_a_refusal_as_an_answer_of_the_hub(monkeypatch, answer, status):
    def request(*_, **__):
        raise answer

    monkeypatch.setattr(doctor.urllib.request, "urlopen", request)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert {finding.item: finding for finding in doctor.examine()}["Hub"].status == status
