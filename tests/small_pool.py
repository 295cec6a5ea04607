"""A checkout in a temporary folder with a pool of nine digits subsets, and the recording that they are selected by."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from harness.dcs.make_pool import make_pool
from harness.dcs.pool import Pool, find_pool
from harness.freeze import freeze
from harness.protocols import find_protocol

ROOT = Path(__file__).resolve().parent.parent
PROTOCOL = "digits/resnet18-hl/v1"
ID = "digits/dcs-pool/v1"
DAY = "2026-11-25"
RECIPE = f"""\
# hand-written
schema: 1
id: {ID}
title: digits, a small pool
recipe:
  dataset: digits
  protocol: {PROTOCOL}
  protocol_sha256: {find_protocol(ROOT, PROTOCOL).sha256}
  seeds: [0, 1]
  backbone: digits/convnet-d3
  recording: digits/resnet18-hl-v1-full
  ipc: [1, 2]
  methods:
    - {{name: random, selector: random, draws: 2}}
    - {{name: el2n-easy, selector: el2n-easy}}
  twins: half-twice
  exclusion: {{points: 10, relative: 0.25}}
"""


def pool_file(root: Path) -> Path:
    return root / f"protocols/{ID}.yaml"


def pool_checkout(root: Path) -> Path:
    """`root` with the digits protocol, its recording and a pool's recipe."""
    for name in (f"protocols/{PROTOCOL}.yaml", "dynamics/digits/resnet18-hl-v1-full"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, root / name)
    pool_file(root).parent.mkdir(parents=True)
    pool_file(root).write_text(RECIPE)
    (root / "protocols/LOCK.json").write_text(json.dumps({}))
    freeze(root, PROTOCOL, DAY)
    return root


def small_pool(root: Path, frozen: bool = False) -> Pool:
    pool = make_pool(pool_checkout(root), ID)
    if frozen:
        freeze(root, ID, DAY)
    return find_pool(root, pool.id)
