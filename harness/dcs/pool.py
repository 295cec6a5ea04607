"""A frozen pool: the fixed subsets of a training split over which a loss is compared with what students learn (methods E.2).

`protocols/<dataset>/dcs-pool/v<N>.yaml`, or `dcs-pool-<student>` where a second student looks at the same subsets. The upper part
is a recipe written by hand; the lower one, the hash of every subset's index, is what `hlbench pool make` writes from it. Identity
is the sha256 of the canonical JSON of the parsed file, frozen in `protocols/LOCK.json` as protocols are. Torch-free.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from harness import canonical
from harness.errors import ProtocolError, UsageError
from harness.protocol_models import TEACHER_ID
from harness.protocols import POOL, find_protocol, is_pool
from harness.strict_yaml import StrictModel, as_tuples, load_yaml, parse_model
from harness.submission_fields import PlainName, Sha256

if TYPE_CHECKING:
    import numpy as np

RANDOM = "random"  # the selector that the exclusion rule compares with
Ipc = Annotated[int, Field(ge=1, le=1300)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=40)]
TeacherId = Annotated[str, Field(pattern=TEACHER_ID)]


class Method(StrictModel):
    """A selector with its parameters. `ipc`: the sizes it is used at, all of the pool's when left out."""

    name: Name
    selector: Name
    parameters: Annotated[dict[PlainName, int | float | PlainName | None], Field(max_length=10)] = Field(default_factory=dict)
    draws: Annotated[int, Field(ge=1, le=20)] = 1
    ipc: tuple[Ipc, ...] | None = None

    @property
    def label(self) -> str:
        """`pareto-easy f=0.4`."""
        return " ".join([self.selector, *(f"{name}={value}" for name, value in self.parameters.items())])


class Exclusion(StrictModel):
    """A subset is dropped when its error exceeds Random's at its IPC by more than max(points, relative * Random's error)."""

    points: Annotated[float, Field(gt=0)]
    relative: Annotated[float, Field(gt=0)]


class Recipe(StrictModel):
    """What is written by hand.

    Attributes:
        protocol, protocol_sha256, seeds: of the students whose error is looked up.
        backbone, teacher, observer, experts: ids of what losses are computed with; None where the dataset has none. Their bytes
            belong to an objective's identity, not to the pool's, so that another teacher does not make another pool.
        recording: of the scoring run that selectors choose by, as `hlbench dynamics list` names it.
        twins: `half-twice`: at even IPC every subset has a twin, the first IPC / 2 rows of each class twice.
    """

    dataset: str
    protocol: str
    protocol_sha256: Sha256
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    backbone: TeacherId
    teacher: TeacherId | None = None
    observer: TeacherId | None = None
    experts: TeacherId | None = None
    recording: Annotated[str, Field(pattern=r"^[a-z0-9-]+/[a-z0-9][a-z0-9.-]*$")]
    ipc: Annotated[tuple[Ipc, ...], Field(min_length=1)]
    methods: Annotated[tuple[Method, ...], Field(min_length=1, max_length=50)]
    twins: Literal["half-twice"]
    exclusion: Exclusion

    @field_validator("ipc", "seeds")
    @classmethod
    def _ascending(cls, numbers):
        if list(numbers) != sorted(set(numbers)):
            raise ValueError("each once, in ascending order")
        return numbers

    @model_validator(mode="after")
    def _methods_differ(self):
        for kind in ("name", "label"):
            named = [getattr(method, kind) for method in self.methods]
            if twice := sorted({one for one in named if named.count(one) > 1}):
                raise ValueError(f"methods: {twice[0]!r} appears twice")
        for method in self.methods:
            if foreign := sorted(set(method.ipc or ()) - set(self.ipc)):
                raise ValueError(f"methods: {method.name} names IPC {foreign[0]}, which the pool does not have")
        if not any(method.selector == RANDOM and method.ipc is None for method in self.methods):
            raise ValueError("methods: random is needed at every IPC, because the exclusion rule compares with it")
        return self


class Planned(NamedTuple):
    """A subset as the recipe names it, before its rows are known. `method` is a label, `twin_of` the id of its base subset."""

    id: str
    ipc: int
    method: str
    draw: int
    twin_of: str | None


class Subset(StrictModel):
    """Rows of the training split. `sha256`, `bytes`: of its index file; `unique`: distinct rows among its IPC a class."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")]
    ipc: Ipc
    method: str
    draw: int
    twin_of: str | None
    unique: Annotated[int, Field(ge=1)]
    sha256: Sha256
    bytes: Annotated[int, Field(ge=1)]

    @property
    def base(self) -> str:
        """The cluster it belongs to: its own id, or that of the subset it is the twin of."""
        return self.twin_of or self.id


class Pool(StrictModel):
    """A parsed pool file. Without subsets it awaits its recording and can be neither frozen nor looked up."""

    schema_version: Literal[1] = Field(alias="schema")
    id: Annotated[str, Field(pattern=rf"^[a-z0-9-]+/{POOL}(-[a-z0-9-]+)?/v[1-9][0-9]*$")]
    title: str
    notes: str = ""
    recipe: Recipe
    split_fingerprint: Sha256 | None = None
    recording_sha256: Sha256 | None = None
    subsets: Annotated[tuple[Subset, ...], Field(max_length=2000)] = ()
    sha256: str = Field(default="", exclude=True)

    @model_validator(mode="after")
    def _dataset_is_that_of_the_id(self):
        for key in ("dataset", "protocol", "recording"):
            if getattr(self.recipe, key).split("/")[0] != self.id.split("/")[0]:
                raise ValueError(f"recipe.{key}: {getattr(self.recipe, key)} is of another dataset than {self.id}")
        return self

    @model_validator(mode="after")
    def _subsets_are_those_of_the_recipe(self):
        if len({bool(self.subsets), self.split_fingerprint is not None, self.recording_sha256 is not None}) > 1:
            raise ValueError("split_fingerprint, recording_sha256 and subsets: all three or none (hlbench pool make)")
        named, wanted = [subset.id for subset in self.subsets], planned(self.recipe)
        if twice := sorted({one for one in named if named.count(one) > 1}):
            raise ValueError(f"subsets: {twice[0]} appears twice")
        found = [Planned(*(getattr(subset, field) for field in Planned._fields)) for subset in self.subsets]
        if found and (odd := sorted({one.id for one in set(found) ^ set(wanted)})):
            raise ValueError(f"subsets: not what the recipe gives: {', '.join(odd[:3])}{' ...' if len(odd) > 3 else ''}")
        hashes = [subset.sha256 for subset in self.subsets]
        if same := [subset.id for subset in self.subsets if hashes.count(subset.sha256) > 1]:
            raise ValueError(f"subsets: {same[0]} and {same[1]} are the same rows, and would count twice")
        return self

    @property
    def stem(self) -> str:
        """`digits-v1`, `tiny-imagenet-resnet18-v1`: what files about this pool are called."""
        dataset, name, version = self.id.split("/")
        return "-".join([dataset, *name.removeprefix(POOL).split("-")[1:], version])

    @property
    def student(self) -> str | None:
        """As `--student` names the pool: `resnet18` of `tiny-imagenet/dcs-pool-resnet18/v1`, None of a dataset's first pool."""
        return self.id.split("/")[1].removeprefix(POOL).removeprefix("-") or None

    @property
    def trained_student(self) -> str:
        """`convnet-d4` of the protocol `tiny-imagenet/convnet-d4-hl/v1`."""
        return self.recipe.protocol.partition("/")[2].partition("-hl/")[0]

    @property
    def version(self) -> int:
        return version_of(self.id)

    @property
    def options(self) -> str:
        """That name the pool on a command line: `--dataset tiny-imagenet --student resnet18`."""
        return f"--dataset {self.recipe.dataset}{f' --student {self.student}' if self.student else ''}"

    @property
    def making(self) -> str:
        """What gives a pool its subsets, as the fix of an error."""
        return f"record {self.recipe.recording} (hlbench dynamics record), then: hlbench pool make {self.options}"

    @property
    def awaits_recording(self) -> bool:
        return not self.subsets


def planned(recipe: Recipe) -> list[Planned]:
    """Every subset of a recipe, small IPC first, each followed by its twin."""

    def entries() -> Iterator[Planned]:
        for ipc in recipe.ipc:
            for method in recipe.methods:
                for draw in range(method.draws if method.ipc is None or ipc in method.ipc else 0):
                    name = f"ipc{ipc}-{method.name}-d{draw}"
                    yield Planned(name, ipc, method.label, draw, None)
                    if ipc % 2 == 0:
                        yield Planned(f"{name}-twin", ipc, method.label, draw, name)

    return list(entries())


def pool_id(dataset: str, student: str | None = None, version: int = 1) -> str:
    """`digits/dcs-pool/v1`; with a student that is not the pool's first one, `tiny-imagenet/dcs-pool-resnet18/v1`."""
    return f"{dataset}/{POOL}{f'-{student}' if student else ''}/v{version}"


def version_of(pool_id: str) -> int:
    return int(pool_id.rsplit("/v", 1)[1])


def pool_ids(root: Path) -> list[str]:
    """Ids of every pool file below `root/protocols`, sorted."""
    folder = root / "protocols"
    found = (path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob("*/*/v*.yaml"))
    return sorted(name for name in found if is_pool(name))


def read_pool(root: Path, dataset: str, student: str | None = None, among: frozenset[str] = frozenset()) -> Pool:
    """The newest pool of a dataset whose students are `student`; without one, of the dataset's first pool.

    `among`: ids that go before all others, as those that are frozen do.
    Raises UsageError listing what there is when there is none, ProtocolError: malformed.
    """
    known = pool_ids(root)
    for folder in (pool_id(dataset, student), pool_id(dataset)):
        family = folder.rsplit("/", 1)[0]
        versions = [one for one in known if one.rsplit("/", 1)[0] == family]
        preferred = [one for one in versions if one in among] or versions
        pool = find_pool(root, max(preferred, key=version_of)) if preferred else None
        if pool and student in (None, pool.student, pool.trained_student):
            return pool
    raise UsageError(
        f"no pool of {student or dataset}", where="--dataset, --student" if student else "--dataset",
        fix=f"choose that of one of: {', '.join(known)}",
    )  # fmt: skip


def find_pool(root: Path, wanted: str) -> Pool:
    path, known = root / "protocols" / f"{wanted}.yaml", pool_ids(root)
    if wanted not in known:
        raise UsageError(f"no pool {wanted!r}", where=str(path), fix=f"choose one of: {', '.join(known)}")
    raw = load_yaml(path, ProtocolError)
    pool = parse_model(Pool, as_tuples(raw), str(path), ProtocolError).model_copy(update={"sha256": canonical.digest(raw)})
    if pool.id != wanted:
        raise ProtocolError("id and path disagree", where=f"{path}: id", why=f"file says {pool.id!r}", fix=f"write id: {wanted}")
    return pool


def check_protocol(root: Path, pool: Pool) -> None:
    """Raises ProtocolError when the protocol is not the one the pool was frozen with, or lacks a seed."""
    protocol = find_protocol(root, pool.recipe.protocol)
    if protocol.sha256 != pool.recipe.protocol_sha256:
        raise ProtocolError(
            "the pool names another content of its protocol", where=f"{pool.id}: recipe.protocol_sha256",
            why=f"{pool.recipe.protocol_sha256[:12]} there, {protocol.id} is {protocol.sha256[:12]}", fix="restore the protocol",
        )  # fmt: skip
    if foreign := sorted(set(pool.recipe.seeds) - set(protocol.seeds)):
        raise ProtocolError(
            f"seed {foreign[0]} is not one of the protocol's", where=f"{pool.id}: recipe.seeds",
            why=f"{protocol.id} lists {', '.join(map(str, protocol.seeds))}", fix="choose among them",
        )  # fmt: skip


def workspace(root: Path, pool: Pool) -> Path:
    """What is made of a pool and not kept: indexes and records, laid out as a checkout so that the runner works in it."""
    return root / "made" / "dcs" / pool.stem


def index_path(pool: Pool, subset: Subset) -> str:
    """Of a subset's index file, below the workspace."""
    return f"submissions/{subset.id}/{pool.recipe.dataset}-ipc{subset.ipc}/draw0.json"


def twin_rows(rows: np.ndarray, ipc: int) -> np.ndarray:
    """The first half of each class twice, row by row: int64 [classes * ipc] from as many, class by class, `ipc` even."""
    return rows.reshape(-1, ipc)[:, : ipc // 2].repeat(2, axis=1).ravel()


def pool_rows(root: Path, pool: Pool, data: Path | None = None, only: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Subset id -> int64 rows [classes * IPC], class by class, a twin's with repeats; equal to the hashes of the pool.

    Index files of the workspace are read; those that are not there are written, from rows stored in the project or else selected
    by the pool's recording. `only`: of these ids; None: all.
    Raises CheckFailed naming subsets that differ; UsageError or EnvironmentProblem when split or recording are needed, not here.
    """
    from harness.dcs.subset_rows import kept_rows

    return kept_rows(root, pool, data, only)
