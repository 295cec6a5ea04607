"""Selected rows or distilled images to a complete submission: data files, content hashes, YAML. Same arguments, same bytes.

Images of more than 2 MB are not committed: they lie in `made/`, which version control ignores, and `remake.py` makes them again.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

from harness import canonical
from harness.datasets.base import Split
from harness.distill.method import DistilledSet
from harness.errors import UsageError
from harness.strict_yaml import as_tuples, parse_model
from harness.submissions import MADE, Submission, index_bytes, read_submission

REPEATED = "Draws that repeat another one"
COMMITTED_BYTES = 2_000_000  # pixels of all draws of a submission together


def write_coreset(folder: Path, header: dict, split: Split, ipc: int, draws: Sequence[np.ndarray], made_by: dict) -> Submission:
    """Write `<dataset>-ipc<N>.yaml` and one JSON index a draw (int64 rows [classes * ipc] each) below `folder`.

    `header`: the descriptive keys (title, authors, licence, contact, notes, ...). `folder` lies in `submissions/`. `made_by`: as
    in a Submission. Draws that repeat another are written and the notes say so.
    """
    body = {"kind": "coreset", "dataset": split.dataset, "ipc": ipc, "split_fingerprint": split.fingerprint, "made_by": made_by}
    files = {f"draw{draw}.json": _writer(index_bytes(rows)) for draw, rows in enumerate(draws)}
    return _write(folder, {**header, **body}, files, {})


def write_distilled(
    folder: Path, header: dict, split: Split, ipc: int, draws: Sequence[DistilledSet], made_by: dict
) -> Submission:
    """As `write_coreset`, one file of images and labels a draw; beside the YAML, where pieces of real images come from.

    Up to 2 MB of pixels in all: parquet of PNG bytes, to be committed. Above: safetensors in `made/<slug>/<dataset>-ipc<N>/`,
    whose bytes follow from the pixels alone, whichever libraries write them.
    """
    from harness.distill.provenance import provenance_bytes

    first = draws[0]
    side = int(first.images[0].shape[-1])
    large = len(draws) * len(first.labels) * 3 * side**2 > COMMITTED_BYTES
    images = {"pixel_space": "uint8", "resolution": side}
    if first.patch_shuffle > 1:
        images["patch_shuffle"] = first.patch_shuffle
    body = {"kind": "distilled", "dataset": split.dataset, "ipc": ipc, "images": images}
    body["made_by"] = made_by
    write, suffix = (write_safetensors, "safetensors") if large else (write_parquet, "parquet")
    files = {f"draw{draw}.{suffix}": lambda path, made=made: write(path, made) for draw, made in enumerate(draws)}
    beside = {
        provenance_name(draw): provenance_bytes(made.patches) for draw, made in enumerate(draws) if made.patches is not None
    }
    return _write(folder, {**header, **body}, files, beside, MADE if large else "submissions")


def write_full(folder: Path, header: dict, split: Split, ipc: int, made_by: dict) -> Submission:
    """As `write_coreset`, for the whole training split: a submission without data files of its own."""
    body = {"kind": "full", "dataset": split.dataset, "ipc": ipc, "split_fingerprint": split.fingerprint, "made_by": made_by}
    return _write(folder, {**header, **body}, {}, {})


def provenance_name(draw: int) -> str:
    return f"draw{draw}.provenance.parquet"


def write_parquet(path: Path, made: DistilledSet) -> None:
    """The Hub's image layout: `image` struct {bytes, path} with PNG bytes, `label` int64."""
    encoded = [{"bytes": _png(image), "path": None} for image in made.images]
    image_type = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(encoded, type=image_type), "label": pa.array(made.labels, type=pa.int64())})
    pq.write_table(table, path)


def write_safetensors(path: Path, made: DistilledSet) -> None:
    """`images` uint8 [N, 3, R, R] and `labels` int64 [N]."""
    from safetensors.numpy import save_file

    save_file({"images": np.stack(list(made.images)), "labels": np.ascontiguousarray(made.labels)}, path)
    path.chmod(0o644)  # save_file leaves a file that only its owner may read


def _write(
    folder: Path, keys: dict, files: dict[str, Callable[[Path], None]], beside: dict[str, bytes], top: str = "submissions"
) -> Submission:
    """Data files first, the YAML that names them last. `files` lie below `top`, those `beside` them always in `submissions/`.

    Raises UsageError when another set is there already.
    """
    name = f"{keys['dataset']}-ipc{keys['ipc']}"
    path, root = folder / f"{name}.yaml", folder.parent.parent
    with tempfile.TemporaryDirectory() as scratch:
        sets = []
        for file_name, write in files.items():
            write(Path(scratch) / file_name)
            content = canonical.content_sha256(Path(scratch), [file_name])
            sets.append({"path": f"{top}/{folder.name}/{name}/{file_name}", "content_sha256": content})
        keys = {**keys, "notes": keys["notes"] + _repeated([Path(scratch) / name for name in files])}
        text = yaml.safe_dump({**keys, **({"sets": sets} if sets else {})}, sort_keys=False, allow_unicode=True, width=120)
        parse_model(Submission, {"slug": folder.name, **as_tuples({**keys, "sets": sets})}, str(path), UsageError)
        if path.exists() and path.read_text(encoding="utf-8") != text:
            raise UsageError(
                "another submission is there already",
                where=str(path),
                why="its records would no longer belong to any submission",
                fix="choose another --slug, or the arguments it was made with",
            )
        folder.mkdir(parents=True, exist_ok=True)
        for source in sets:
            (root / source["path"]).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(Path(scratch) / Path(source["path"]).name, root / source["path"])
    for file_name, contents in beside.items():
        (folder / name).mkdir(exist_ok=True)
        (folder / name / file_name).write_bytes(contents)
    path.write_text(text, encoding="utf-8")
    return read_submission(path)


def _repeated(draws: list[Path]) -> str:
    """A sentence for the notes where draws, which should be independent, are the same bytes; else ""."""
    again = len(draws) - len({canonical.file_sha256(path) for path in draws})
    return f" {REPEATED}: {again} of {len(draws)}." if again else ""


def _writer(contents: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(contents)


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(buffer, format="PNG")
    return buffer.getvalue()
