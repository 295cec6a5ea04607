"""A submission file: who submits which distilled sets or coreset indexes, where their bytes lie, what they are declared to be.

`submissions/<slug>/<dataset>-ipc<N>.yaml`. The digest covers what decides a result (slug, kind, dataset, ipc, sets and the
declarations about the images), so a title or a contact can be mended without orphaning records.
"""

from __future__ import annotations

import json
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator, model_validator

from harness import canonical
from harness.errors import SubmissionError
from harness.strict_yaml import NOT_IN_FILE, StrictModel, as_tuples, load_yaml, parse_model
from harness.submission_fields import (
    Command,
    HttpsUrl,
    PlainName,
    ProtocolPin,
    RecordCommand,
    RepoId,
    Revision,
    Sha256,
    ShortText,
    path_inside,
)

if TYPE_CHECKING:
    import numpy as np

SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
FILE_NAME = re.compile(r"(?P<dataset>[a-z0-9-]+)-ipc(?P<ipc>[1-9][0-9]*)\.yaml")
MAX_DRAWS = 20
MAX_FILES = 1000
FULL_DATASET = "full-dataset"
MADE = "made"  # folder, ignored by version control, of images that `remake.py` makes again when they are missing


class SetSource(StrictModel):
    """One draw: a Hub dataset repo at a commit, or a path inside this project (relative to its root).

    `files` are paths in the repo; one that ends in `/` names every file below that folder. `content_sha256` is the sha256 of the
    canonical JSON of [{path, sha256, size}] sorted by path (`canonical.content_sha256`). Paths are those in the repo; for a
    `path` that is a file, its name; for a `path` that is a folder, those below that folder.
    """

    repo: RepoId | None = None
    revision: Revision | None = None
    files: Annotated[tuple[str, ...], Field(max_length=MAX_FILES)] = ()
    path: str | None = None
    content_sha256: Sha256

    @field_validator("files")
    @classmethod
    def _files_stay_inside(cls, files):
        return tuple(path_inside(name) for name in files)

    @field_validator("path")
    @classmethod
    def _path_stays_inside(cls, path):
        return None if path is None else path_inside(path)

    @model_validator(mode="after")
    def _hub_or_path(self):
        hub = self.repo is not None and self.revision is not None and bool(self.files)
        local = self.path is not None and self.repo is None and self.revision is None and not self.files
        if hub == local:
            raise ValueError(
                "a set is either {repo, revision, files, content_sha256} on the Hub or {path, content_sha256} in this project"
            )
        return self

    @property
    def on_hub(self) -> bool:
        return self.repo is not None

    @property
    def remade(self) -> bool:
        """Whether the images are not kept but made again when they are missing."""
        return self.path is not None and self.path.startswith(f"{MADE}/")

    def is_missing(self, root: Path) -> bool:
        """Whether these are images to make first, in the checkout at `root`."""
        return self.remade and not (root / self.path).exists()

    @property
    def pinned(self) -> str:
        """`org/name@<40 hex>` or the project path, for records."""
        return f"{self.repo}@{self.revision}" if self.on_hub else str(self.path)

    @property
    def described(self) -> str:
        """`org/name@<12 hex>` or the project path, for messages."""
        return f"{self.repo}@{self.revision[:12]}" if self.on_hub else str(self.path)


class ImageDeclaration(StrictModel):
    """What the author says the images of a distilled set are; intake holds the files to it.

    `uint8`: raw pixels 0..255. `float32`: already normalised with the statistics that `normalization` names (methods A.7).
    `patch_shuffle`: f of RDED-type stitched sets; the student then sees shuffled f x f tiles (methods A.6).
    """

    pixel_space: Literal["uint8", "float32"]
    normalization: ShortText | None = None
    resolution: Annotated[int, Field(ge=1, le=1024)]
    patch_shuffle: Annotated[int, Field(ge=1, le=8)] = 1

    @model_validator(mode="after")
    def _floats_name_their_normalization(self):
        if (self.pixel_space == "float32") != (self.normalization is not None):
            raise ValueError("float32 images name the normalization they are stored in; uint8 images name none")
        return self


class MadeBy(StrictModel):
    """How this project made a set: enough to make it again. It describes; `sets` decide what is trained on.

    `command`: to paste. `version`: of the method's code, raised when it gives other sets for the same inputs; a commit would
    change with every line of the project. `parameters`: all of the method's, with the values that were used, given or derived.
    `inputs`: sha256 of what it read beside the training split: a teacher, a file of scores, arrays of a scoring run
    (`dynamics/<dataset>/<name>/el2n.npy`). `protocol`, as `<id> sha256:<hash>`: whose student that run trained; `recorded_by`:
    the command that records that run again.
    """

    command: Command
    version: Annotated[int, Field(ge=1)] | None = None
    split_fingerprint: Sha256
    parameters: Annotated[dict[PlainName, int | float | PlainName | None], Field(max_length=20)] = Field(default_factory=dict)
    inputs: Annotated[dict[PlainName, Sha256], Field(max_length=10)] = Field(default_factory=dict)
    protocol: ProtocolPin | None = None
    recorded_by: RecordCommand | None = None


class Submission(StrictModel):
    """A parsed submission file. `slug` comes from the folder it lies in.

    `kind: full` is the yardstick beside the sets: the whole training split, seen for as many images as a set of this IPC.
    `repeats`: rows of a coreset may be named twice, as in the twins of a DCS pool; no submission file may ask for it.
    """

    slug: Annotated[str, Field(pattern=rf"^{SLUG.pattern}$", json_schema_extra=NOT_IN_FILE)]
    repeats: Annotated[bool, Field(json_schema_extra=NOT_IN_FILE)] = False
    title: ShortText
    authors: Annotated[tuple[ShortText, ...], Field(min_length=1, max_length=50)]
    paper: HttpsUrl | None = None
    code: HttpsUrl | None = None
    licence: ShortText
    contact: ShortText
    notes: Annotated[str, Field(max_length=2000)] = ""
    kind: Literal["distilled", "coreset", "full"]
    dataset: ShortText
    ipc: Annotated[int, Field(ge=1, le=1300)]
    method: ShortText
    split_fingerprint: Sha256 | None = None
    images: ImageDeclaration | None = None
    made_by: MadeBy | None = None
    sets: Annotated[tuple[SetSource, ...], Field(max_length=MAX_DRAWS)] = ()

    @model_validator(mode="after")
    def _draws_differ(self):
        hashes = [source.content_sha256 for source in self.sets]
        if len(set(hashes)) < len(hashes):
            raise ValueError("the same content_sha256 is listed twice; a draw is another distillation or selection, not a copy")
        return self

    @model_validator(mode="after")
    def _made_again_in_its_own_place(self):
        place = f"{MADE}/{self.slug}/{self.dataset}-ipc{self.ipc}/"
        for source in self.sets:
            if source.remade and (self.kind != "distilled" or not source.path.startswith(place)):
                raise ValueError(f"images that are made again belong to a distilled set and lie below {place}")
        return self

    @model_validator(mode="after")
    def _kind_decides_fields(self):
        if self.kind == "full" and (self.sets or self.images is not None or self.split_fingerprint is None):
            raise ValueError("the full dataset gives split_fingerprint (its training split) and neither sets nor images")
        if self.kind == "full" and (self.slug != FULL_DATASET or self.method != FULL_DATASET):
            raise ValueError(f"kind full is the yardstick, slug and method {FULL_DATASET}; a set is distilled or coreset")
        if self.kind != "full" and not self.sets:
            raise ValueError("sets: name at least one, {repo, revision, files, content_sha256} or {path, content_sha256}")
        if self.kind == "coreset" and (self.split_fingerprint is None or self.images is not None):
            raise ValueError("a coreset gives split_fingerprint (the train split its row numbers refer to) and no images section")
        if self.kind == "distilled" and (self.images is None or self.split_fingerprint is not None):
            raise ValueError("a distilled set gives an images section and no split_fingerprint")
        return self

    @cached_property
    def digest(self) -> str:
        """sha256 of the canonical JSON of everything that decides a result."""
        deciding = {"slug", "kind", "dataset", "ipc", "split_fingerprint", "images", "sets"}
        return canonical.digest(self.model_dump(mode="json", include=deciding))

    def __hash__(self) -> int:
        return hash(self.digest)  # the fields of `made_by` are no keys

    @property
    def draws(self) -> int:
        """How many sets are trained on; the full dataset is one."""
        return max(1, len(self.sets))

    @property
    def relative_path(self) -> str:
        return f"submissions/{self.slug}/{self.dataset}-ipc{self.ipc}.yaml"

    @property
    def sheet_path(self) -> str:
        """Of the contact sheet (`hlbench show`), which boards link where there is one."""
        return f"submissions/{self.slug}/{self.dataset}-ipc{self.ipc}.png"


def read_submission(path: Path) -> Submission:
    """Parse one submission file. Raises SubmissionError naming file, key, reason and the valid keys.

    The folder names the slug and the file name repeats dataset and ipc, so a file cannot be mistaken for another's.
    """
    slug = path.resolve().parent.name
    named = FILE_NAME.fullmatch(path.name)
    if not SLUG.fullmatch(slug) or not named:
        raise SubmissionError(
            "a submission file is named <slug>/<dataset>-ipc<N>.yaml",
            where=str(path),
            why="the slug is 1 to 64 of a-z, 0-9 and '-'; the file name repeats dataset and ipc",
            fix="rename it, for example submissions/my-method/cifar10-ipc10.yaml",
        )
    raw = load_yaml(path, SubmissionError)
    for key, why in (("slug", "the slug is the folder's name"), ("repeats", "a coreset is a set: each row once")):
        if key in raw:
            raise SubmissionError(f"unknown key {key!r}", where=f"{path}: {key}", why=why, fix="remove the key")
    submission = parse_model(Submission, {"slug": slug, **as_tuples(raw)}, str(path), SubmissionError)
    for key in ("dataset", "ipc"):
        if str(getattr(submission, key)) != named[key]:
            raise SubmissionError(
                f"{key} differs from the file name",
                where=f"{path}: {key}",
                why=f"{getattr(submission, key)!r} against {named[key]!r}",
                fix=f"write {submission.dataset}-ipc{submission.ipc}.yaml, or mend the key",
            )
    return submission


def check_place(path: Path, submission: Submission, root: Path) -> None:
    """Raises SubmissionError when the file at `path` is not the one that the checkout at `root` has under that name."""
    if path.resolve() != (root / submission.relative_path).resolve():
        raise SubmissionError(
            "the submission lies in the wrong place",
            where=str(path),
            why=f"in checkout {root} it would be found at {submission.relative_path}",
            fix=f"move it to {submission.relative_path}",
        )


def find_submissions(root: Path) -> list[Path]:
    """Every submission file of the checkout at `root`, sorted."""
    return sorted((root / "submissions").glob("*/*-ipc*.yaml"))


def index_bytes(rows: np.ndarray) -> bytes:
    """The index file of a coreset, `{"rows":[3,17,...]}`, from int64 rows [N]; the same rows give the same bytes."""
    return json.dumps({"rows": rows.tolist()}, separators=(",", ":")).encode() + b"\n"
