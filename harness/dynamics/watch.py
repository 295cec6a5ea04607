"""What is taken down while a scoring run trains: predictions as rows are presented, and passes over the split at snapshots."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.datasets.base import Split
from harness.dynamics.spec import ScoringRun, el2n_sl_file
from harness.protocols import Protocol
from harness.training.views import evaluation_views


class FeaturesAndLogits(nn.Module):
    """A network in evaluation mode over another one's own weights: images to [B, F + C], the last layer's inputs and outputs.

    The other network trains on, its mode untouched, and is seen here as it stands.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        name, self.head = last_linear(model)
        shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        self.body = copy.deepcopy(model, shared)  # modules are copied, tensors in the memo are not
        self.body.set_submodule(name, nn.Identity())
        self.body.eval()

    def forward(self, images: Tensor) -> Tensor:
        features = self.body(images)
        return torch.cat([features, self.head(features)], dim=1)


def last_linear(model: nn.Module) -> tuple[str, nn.Linear]:
    """(name, layer) of the network's last linear layer."""
    return [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)][-1]


class Watcher:
    """Fills `arrays` (ScoringRun.arrays) while the run trains.

    `teacher_logits`: float32 [N, C] on the device where EL2N-SL is recorded, else None.
    """

    def __init__(
        self,
        run: ScoringRun,
        protocol: Protocol,
        split: Split,
        arrays: dict[str, np.memmap],
        look: Callable[[Tensor], Tensor],
        device: str,
        teacher_logits: Tensor | None = None,
        images_presented: int = 0,
    ):
        self.run, self.protocol, self.split, self.arrays, self.look = run, protocol, split, arrays, look
        self.device, self.teacher_logits = device, teacher_logits
        self.images_presented = images_presented

    def present(self, rows: Tensor, logits: Tensor) -> None:
        """`on_batch` of the trainer. The images presented so far give the pass: no row comes again before all others came."""
        numbers = rows.numpy()
        correct = logits.argmax(dim=1).cpu().numpy() == self.split.labels[numbers]
        passes = (self.images_presented + np.arange(len(numbers))) // self.run.rows
        self.arrays["presented.npy"][passes, numbers] = correct
        self.images_presented += len(numbers)

    @torch.inference_mode()
    def snapshot(self, number: int) -> float:
        """Take snapshot `number`, 0-based, of every row of the split; returns the share that is classified correctly."""
        start, is_last = 0, number == self.run.snapshots - 1
        for images, labels in evaluation_views(self.split, self.protocol, self.device):
            rows = slice(start, start + len(labels))
            features, logits = self.look(images).split([self.run.features, self.run.classes], dim=1)
            for name, values in self._scores(logits, labels, rows).items():
                self.arrays[name][number, rows] = values.cpu().numpy()
            if is_last:
                self.arrays["probabilities.npy"][rows] = logits.softmax(dim=1).half().cpu().numpy()
                self.arrays["features.npy"][rows] = features.half().cpu().numpy()
            start = rows.stop
        return float(self.arrays["correct.npy"][number].mean())

    def flush(self) -> None:
        """Nothing that was taken down so far is lost if the machine stops."""
        for array in self.arrays.values():
            array.flush()

    def _scores(self, logits: Tensor, labels: Tensor, rows: slice) -> dict[str, Tensor]:
        """File name -> a number for each of the images; `logits` float32 [B, C]."""
        probabilities = logits.softmax(dim=1)
        scores = {
            "true_probability.npy": probabilities.gather(1, labels[:, None])[:, 0],
            "el2n.npy": (probabilities - F.one_hot(labels, self.run.classes)).norm(dim=1),
            "correct.npy": logits.argmax(dim=1) == labels,
        }
        for temperature in self.run.temperatures:
            student, teacher = ((some / temperature).softmax(dim=1) for some in (logits, self.teacher_logits[rows]))
            scores[el2n_sl_file(temperature)] = (student - teacher).norm(dim=1)
        return scores


def feature_count(model: nn.Module) -> int:
    """F, the inputs of the last linear layer."""
    return last_linear(model)[1].in_features
