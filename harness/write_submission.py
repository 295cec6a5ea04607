"""Selected rows or distilled images to a complete submission: data files, content hashes, YAML. Same arguments, same bytes."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

from harness import canonical
from harness.datasets.base import Split
from harness.errors import UsageError
from harness.submissions import Submission, read_submission


def write_coreset(folder: Path, header: dict, split: Split, ipc: int, draws: Sequence[np.ndarray]) -> Submission:
    """Write `<dataset>-ipc<N>.yaml` and one JSON index a draw (int64 rows [classes * ipc] each) below `folder`.

    `header`: the descriptive keys (title, authors, licence, contact, method, ...). `folder` lies in `submissions/`.
    """
    files = {
        f"draw{draw}.json": json.dumps({"rows": rows.tolist()}, separators=(",", ":")).encode() + b"\n"
        for draw, rows in enumerate(draws)
    }
    body = {"kind": "coreset", "dataset": split.dataset, "ipc": ipc, "split_fingerprint": split.fingerprint}
    return _write(folder, {**header, **body}, files)


def write_distilled(
    folder: Path, header: dict, split: Split, ipc: int, draws: Sequence[tuple[np.ndarray, np.ndarray]]
) -> Submission:
    """As `write_coreset`, one parquet of PNG bytes a draw (uint8 images [classes * ipc, 3, H, W], int64 labels)."""
    files = {f"draw{draw}.parquet": _parquet(images, labels) for draw, (images, labels) in enumerate(draws)}
    resolution = int(draws[0][0].shape[-1])
    body = {
        "kind": "distilled",
        "dataset": split.dataset,
        "ipc": ipc,
        "images": {"pixel_space": "uint8", "resolution": resolution},
    }
    return _write(folder, {**header, **body}, files)


def write_full(folder: Path, header: dict, split: Split, ipc: int) -> Submission:
    """As `write_coreset`, for the whole training split: a submission without data files of its own."""
    body = {"kind": "full", "dataset": split.dataset, "ipc": ipc, "split_fingerprint": split.fingerprint}
    return _write(folder, {**header, **body}, {})


def _write(folder: Path, keys: dict, files: dict[str, bytes]) -> Submission:
    """Data files first, the YAML that names them last. Raises UsageError when another set is there already."""
    name = f"{keys['dataset']}-ipc{keys['ipc']}"
    path = folder / f"{name}.yaml"
    with tempfile.TemporaryDirectory() as scratch:
        for file_name, contents in files.items():
            (Path(scratch) / file_name).write_bytes(contents)
        sets = [
            {
                "path": f"submissions/{folder.name}/{name}/{file_name}",
                "content_sha256": canonical.content_sha256(Path(scratch), [file_name]),
            }
            for file_name in files
        ]
    text = yaml.safe_dump({**keys, **({"sets": sets} if sets else {})}, sort_keys=False, allow_unicode=True, width=120)
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise UsageError(
            "another submission is there already",
            where=str(path),
            why="its records would no longer belong to any submission",
            fix="choose another --slug, or the arguments it was made with",
        )
    folder.mkdir(parents=True, exist_ok=True)
    for file_name, contents in files.items():
        (folder / name).mkdir(exist_ok=True)
        (folder / name / file_name).write_bytes(contents)
    path.write_text(text, encoding="utf-8")
    return read_submission(path)


def _parquet(images: np.ndarray, labels: np.ndarray) -> bytes:
    """The Hub's image layout: `image` struct {bytes, path} with PNG bytes, `label` int64."""
    encoded = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(buffer, format="PNG")
        encoded.append({"bytes": buffer.getvalue(), "path": None})
    image_type = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(encoded, type=image_type), "label": pa.array(labels, type=pa.int64())})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()
