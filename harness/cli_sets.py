"""`hlbench select`, `distill` and `show`: the reference sets, and a look at any set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli_options import (
    APP_SETTINGS,
    Data,
    Device,
    DrawCount,
    Slug,
    Student,
    Submissions,
    device_of,
    numbers_or_all,
)
from harness.errors import UsageError
from harness.paths import project_root

if TYPE_CHECKING:
    from harness.submissions import Submission

sets_app = typer.Typer(**APP_SETTINGS)

FROM_SCORES, EL2N_BEST, FULL_DATASET = "from-scores", "el2n-best", "full-dataset"
SHEET_CLASSES, SHEET_IMAGES = 10, 10

# Optional, because --list and --verify go without; a set needs both.
DatasetOrNone = Annotated[str | None, typer.Option("--dataset", help="digits, cifar10, cifar100, tiny-imagenet, imagenet-1k.")]
IpcOrNone = Annotated[int | None, typer.Option("--ipc", min=1, help="Images per class.")]
Dynamics = Annotated[str | None, typer.Option("--dynamics", help="A recording, as `hlbench dynamics list` names it.")]
Param = Annotated[list[str] | None, typer.Option("--param", help="NAME=VALUE, a parameter of the method; may be repeated.")]


@sets_app.command(epilog="Example: hlbench select el2n-easy --dataset digits --ipc 10 --dynamics digits/resnet18-hl-v1-full")
def select(
    method: Annotated[str | None, typer.Argument(metavar="METHOD", help="`hlbench select --list` names them.")] = None,
    scores: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="With from-scores: npy, csv, parquet or safetensors.")
    ] = None,
    dataset: DatasetOrNone = None,
    ipc: IpcOrNone = None,
    draws: DrawCount = 1,
    slug: Slug = None,
    dynamics: Dynamics = None,
    param: Param = None,
    order: Annotated[str | None, typer.Option("--order", help="With from-scores: highest or lowest first.")] = None,
    window: Annotated[
        float | None, typer.Option("--window", help="With from-scores: share of each class to pass over first. Default: 0.")
    ] = None,
    author: Annotated[
        list[str] | None, typer.Option("--author", help="With from-scores: who submits the set; may be repeated.")
    ] = None,
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="With el2n-best: of its search. Default: <dataset>/<student>-hl, newest.")
    ] = None,
    student: Student = "resnet18",
    search_seeds: Annotated[
        str | None, typer.Option("--search-seeds", help="With el2n-best: as 5,6,7. Default: three the protocol does not list.")
    ] = None,
    search_step: Annotated[
        float | None, typer.Option("--search-step", help="With el2n-best: how far windows begin apart: 0.1, 0.2 or 0.3.")
    ] = None,
    device: Device = "auto",
    data: Data = None,
    verify: Annotated[
        Path | None, typer.Option("--verify", help="Make this submission again and compare all but what describes it.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Name the methods, what they need, their parameters.")] = False,
) -> None:
    """Write a coreset as a submission; or prove that a submission is what its method writes.

    el2n-best trains students to find its window; run it again to resume.
    """
    given = named_values(param)
    searches = method == EL2N_BEST and "beta" not in given
    if not searches:
        _refuse_half_a_search(method, given, any(option is not None for option in (protocol, search_seeds, search_step)))
    options = {"FILE": scores, "--dataset": dataset, "--ipc": ipc, "--draws": draws if draws > 1 else None, "--slug": slug}
    options |= {"--dynamics": dynamics, "--param": param, "--order": order, "--window": window, "--author": author}
    _refuse_unused("--verify" if verify is not None else method, {name for name, value in options.items() if value is not None})
    if listed:
        from harness import method_lists, reports

        reports.print_rows(method_lists.selector_rows(), as_json=False)
    elif verify is not None:
        _verify(verify, data, scores)
    elif method is None or dataset is None or ipc is None:
        raise UsageError(
            "a coreset needs METHOD, --dataset and --ipc", fix="see `hlbench select --help`; --list names the methods"
        )
    elif method == FROM_SCORES:
        _select_from_scores(scores, dataset, ipc, order, window or 0.0, slug, author, data)
    elif searches:
        students = {"protocol": protocol, "student": student, "device": device_of(device)}
        students["seeds"] = numbers_or_all(search_seeds, "--search-seeds")
        if search_step is not None:
            students["step"] = search_step
        _search(students, dataset=dataset, ipc=ipc, draws=draws, data=data, slug=slug, dynamics=dynamics, parameters=given)
    else:
        _select(method, dataset=dataset, ipc=ipc, draws=draws, data=data, slug=slug, dynamics=dynamics, parameters=given)


@sets_app.command(epilog="Example: hlbench distill rded --dataset digits --ipc 10 --draws 3")
def distill(
    method: Annotated[str | None, typer.Argument(metavar="METHOD", help="`hlbench distill --list` tells of them.")] = None,
    dataset: DatasetOrNone = None,
    ipc: IpcOrNone = None,
    draws: DrawCount = 1,
    slug: Slug = None,
    dynamics: Dynamics = None,
    param: Param = None,
    observer: Annotated[str | None, typer.Option("--observer", help="Teacher's id. Default: the one this project pins.")] = None,
    device: Device = "cpu",
    data: Data = None,
    listed: Annotated[bool, typer.Option("--list", help="Name the methods, what they need, their parameters.")] = False,
) -> None:
    """Write a reference distilled set as a submission: kmeans-centroids, rded, ca2d. Run it again to resume."""
    if listed:
        from harness import method_lists, reports

        reports.print_rows(method_lists.distiller_rows(), as_json=False)
        print(method_lists.distillers_defaults())
        return
    if method is None or dataset is None or ipc is None:
        raise UsageError(
            "a distilled set needs METHOD, --dataset and --ipc", fix="see `hlbench distill --help`; --list names the methods"
        )
    from harness.progress import count
    from harness.reference import make_distilled

    chosen = {"dynamics": dynamics, "parameters": named_values(param), "observer": observer, "device": device_of(device)}
    with count("classes") as counted:
        made = make_distilled(project_root(), method, dataset, ipc, draws, data, slug, **chosen, on_class=counted, recall=True)
    _say_made(made)


@sets_app.command(epilog="Example: hlbench show submissions/random/digits-ipc10.yaml --out sheet.png")
def show(
    submissions: Submissions,
    out: Annotated[
        Path | None, typer.Option("--out", help="The PNG to write. Default: beside the file, where boards link.")
    ] = None,
    draw: Annotated[int, typer.Option("--draw", help="With --out: which of its draws.")] = 0,
    classes: Annotated[int, typer.Option("--classes", help="With --out, rows: classes, spread over all.")] = SHEET_CLASSES,
    images: Annotated[int, typer.Option("--images", help="With --out, columns: images of a class.")] = SHEET_IMAGES,
    data: Data = None,
) -> None:
    """Write contact sheets of sets: a row of images for each of some classes."""
    from harness.plan import submission_files
    from harness.show import show_on_boards, show_submission
    from harness.submissions import read_submission
    from harness.work import Machine

    machine, files = Machine(project_root(), data), submission_files(submissions)
    if out is None and (draw, classes, images) != (0, SHEET_CLASSES, SHEET_IMAGES):
        raise UsageError("--draw, --classes and --images are for a sheet of your own", fix="name its file with --out")
    if out is None:
        for file in files:
            print(show_on_boards(read_submission(file), machine).relative_to(machine.root))
        return
    if len(files) > 1:
        raise UsageError(f"{len(files)} submissions and one --out", where="--out", fix="name one submission, or leave --out away")
    show_submission(read_submission(files[0]), machine, out, draw, classes, images)
    print(out)


def named_values(texts: list[str] | None) -> dict[str, str]:
    """`NAME=VALUE` texts as a dict. Raises UsageError for one without a `=`, and for a name given twice."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, sign, value = text.partition("=")
        if not sign or not name or name in found:
            raise UsageError(f"{text!r} is no parameter", where="--param", fix="write NAME=VALUE, each name once")
        found[name] = value
    return found


def _refuse_unused(method: str | None, given: set[str]) -> None:
    """Options that would change nothing: whoever gave one believes that it did."""
    split_and_size = {"--dataset", "--ipc"}
    used = {
        "--verify": {"FILE"},
        FROM_SCORES: split_and_size | {"FILE", "--order", "--window", "--slug", "--author"},
        FULL_DATASET: split_and_size,
    }.get(method, split_and_size | {"--draws", "--slug", "--dynamics", "--param"})
    if method is not None and (unused := sorted(given - used)):
        raise UsageError(f"{method} uses no {', '.join(unused)}", fix="leave it out; `hlbench select --list` names the methods")


def _refuse_half_a_search(method: str | None, given: dict[str, str], asked: bool) -> None:
    """Options of a search where nothing is searched, and a best window that no search has chosen."""
    if asked:
        raise UsageError(
            "--protocol, --search-seeds and --search-step are for the search of el2n-best", where=method or "--verify",
            fix="leave them out; a beta that is named is not searched",
        )  # fmt: skip
    if method == EL2N_BEST and "searched" not in given:
        raise UsageError(
            "el2n-best with a beta that nobody searched", where="--param beta=", why="its window is the one that a search chose",
            fix="leave beta out to search it, or use el2n-window",
        )  # fmt: skip


def _select(method: str, **asked: Any) -> None:
    from harness import reference

    if method == FULL_DATASET:
        made = reference.make_full(project_root(), asked["dataset"], asked["ipc"], asked["data"])
    else:
        made = reference.make_coreset(project_root(), method, **asked)
    _say_made(made)


def _select_from_scores(
    scores: Path | None,
    dataset: str,
    ipc: int,
    order: str | None,
    window: float,
    slug: str | None,
    authors: list[str] | None,
    data: Path | None,
) -> None:
    from harness import reference

    if scores is None or order is None or slug is None or authors is None:
        raise UsageError(
            "from-scores needs a FILE, --order, --slug and --author", why="the set is its author's, not this project's",
            fix='hlbench select from-scores FILE --order highest --slug my-method --author "My Name" --dataset ... --ipc ...',
        )  # fmt: skip
    _say_made(reference.make_from_scores(project_root(), scores, dataset, ipc, order, window, slug, authors, data))


def _say_made(made: Submission) -> None:
    """Where it lies; on stderr what its author may overlook."""
    from harness.write_submission import REPEATED

    print(made.relative_path)
    if REPEATED in made.notes:
        print(made.notes[made.notes.index(REPEATED) :], file=sys.stderr)


def _search(students: dict[str, Any], **asked: Any) -> None:
    """A line a student on stderr."""
    from harness.search_window import Students, make_best

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    print(make_best(project_root(), **asked, students=Students(**students), say=say).relative_path)


def _verify(submission: Path, data: Path | None, scores: Path | None) -> None:
    from harness.regenerate import verify_submission
    from harness.submissions import read_submission
    from harness.window_account import check_account

    root = project_root()
    print(verify_submission(root, submission, data, scores) + check_account(root, read_submission(submission), data))
