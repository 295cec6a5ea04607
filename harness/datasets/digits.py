"""The embedded default: 1,797 real handwritten digits, 8 x 8, that ship inside scikit-learn.

Split as in scikit-learn's example "Recognizing hand-written digits" (test_size=0.5, shuffle=False): the first 898 rows are
train, the last 899 are test.
"""

from __future__ import annotations

import numpy as np

from harness.datasets.base import DatasetSpec, Split, SplitName
from harness.datasets.fingerprint import fingerprint, row_digest

BRIGHTEST = 16  # load_digits counts the set pixels of 4 x 4 blocks: 0..16


def load_digits_split(spec: DatasetSpec, split: SplitName) -> Split:
    """Images uint8 [N, 3, 8, 8] in 0..255 (grey copied to three channels), labels int64 [N] in 0..9."""
    from sklearn.datasets import load_digits  # costs a second to import; the other datasets do not need it

    bundled = load_digits()
    rows = slice(0, spec.train_rows) if split == "train" else slice(spec.train_rows, spec.train_rows + spec.test_rows)
    grey = np.rint(bundled.images[rows] * 255 / BRIGHTEST).astype(np.uint8)
    labels = bundled.target[rows].astype(np.int64)
    interleaved = np.ascontiguousarray(np.repeat(grey[..., None], 3, axis=3))
    digests = [row_digest(label, image.tobytes()) for label, image in zip(labels, interleaved, strict=True)]
    return Split(
        dataset=spec.name,
        name=split,
        images=np.ascontiguousarray(interleaved.transpose(0, 3, 1, 2)),
        labels=labels,
        fingerprint=fingerprint(digests),
    )
