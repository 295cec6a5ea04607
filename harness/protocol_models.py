"""The sections of a protocol file, as frozen models: data, input, student, labels, optimizer, schedule, training, measurement."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from harness.strict_yaml import StrictModel

TEACHER_ID = r"^[a-z0-9-]+/[a-z0-9-]+$"  # `tiny-imagenet/convnet-d4`

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
ByIpc = Annotated[dict[Count, Count], Field(min_length=1)]


class Dataset(StrictModel):
    """The real data behind the set: test split of every student, train split that coreset rows point into."""

    name: str
    repo: str
    revision: str
    classes: Count
    train_images: Count
    test_images: Count


class Input(StrictModel):
    """What reaches the student's first layer. `resolution` is the side in pixels of the training view."""

    resolution: Count
    resize: Literal["none", "bilinear"]
    normalization: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Student(StrictModel):
    """`parameters` is asserted when the network is built."""

    architecture: Literal["convnet", "resnet18", "resnet50", "resnet101", "mlp"]
    stem: Literal["none", "imagenet", "small"]
    norm: Literal["none", "instance", "batch"]
    depth: Annotated[int, Field(ge=0)]
    width: Annotated[int, Field(ge=0)]
    init: Literal["torch-default", "torchvision-default"]
    parameters: Count

    @model_validator(mode="after")
    def _describes_a_network_that_exists(self):
        built = {
            "convnet": (self.depth >= 1, {"none"}, {"instance", "batch"}),
            "mlp": (self.depth == 2, {"none"}, {"none"}),
            "resnet18": (self.depth == 18 and self.width == 64, {"imagenet", "small"}, {"batch"}),
            "resnet50": (self.depth == 50 and self.width == 64, {"imagenet", "small"}, {"batch"}),
            "resnet101": (self.depth == 101 and self.width == 64, {"imagenet", "small"}, {"batch"}),
        }
        sized, stems, norms = built[self.architecture]
        if not sized or self.stem not in stems or self.norm not in norms:
            raise ValueError(f"no {self.architecture} is built with this depth, width, stem and norm")
        return self


class HardLabels(StrictModel):
    """Integer classes, cross-entropy."""

    regime: Literal["hl"]
    loss: Literal["cross-entropy"]
    label_smoothing: Fraction


class CutMix(StrictModel):
    """One box and one permutation a batch, the box's share of the image 1 - lambda, lambda ~ Beta(alpha, alpha) (methods A.5)."""

    probability: Fraction
    beta_alpha: Positive


class SoftLabels(StrictModel):
    """A pinned teacher's distribution in place of the class: of the image once for all (sl), or of every view anew (sl-kd).

    The loss is KL(q || p) of the softmaxes of teacher and student logits, both divided by `temperature`; multiplied by its
    square if `t_squared`. `teacher_sha256` names the teacher's weights: `pending` until they exist, and until then the protocol
    can be neither frozen nor run.
    """

    regime: Literal["sl", "sl-kd"]
    loss: Literal["kl-divergence"]
    temperature: Positive
    t_squared: bool
    reduction: Literal["sum-over-classes-mean-over-batch"]
    teacher: Annotated[str, Field(pattern=TEACHER_ID)]
    teacher_sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64}|pending)$")]
    label_view: Literal["un-augmented-image", "every-view"]
    cutmix: CutMix | Literal["none"]

    @model_validator(mode="after")
    def _view_follows_from_the_regime(self):
        if (self.regime == "sl") != (self.label_view == "un-augmented-image"):
            raise ValueError("sl labels the un-augmented-image, sl-kd labels every-view")
        if self.regime == "sl" and self.cutmix != "none":
            raise ValueError("sl has one label an image, which does not describe a mixture of two: write cutmix none")
        return self


class Sgd(StrictModel):
    name: Literal["sgd"]
    lr: Positive
    momentum: Fraction
    nesterov: bool
    weight_decay: Annotated[float, Field(ge=0)]
    decayed_parameters: Literal["all", "matrices"]


class AdamW(StrictModel):
    name: Literal["adamw"]
    lr: Positive
    betas: tuple[Fraction, Fraction]
    eps: Positive
    weight_decay: Annotated[float, Field(ge=0)]
    decayed_parameters: Literal["all", "matrices"]


class StepSchedule(StrictModel):
    """The learning rate is multiplied by `factor` once, after `decay_after_epochs` epochs have been completed."""

    name: Literal["step"]
    decay_after_epochs: Count
    factor: Positive
    reset_momentum: bool


class CosineSchedule(StrictModel):
    """Half-period cosine from lr to `final_lr`; linear warm-up from `warmup_start` x lr over `warmup_epochs` before it."""

    name: Literal["cosine"]
    stepping: Literal["iteration", "epoch"]
    final_lr: Annotated[float, Field(ge=0)]
    warmup_epochs: Annotated[int, Field(ge=0)]
    warmup_start: Fraction


class Training(StrictModel):
    """`epochs` and `batch_size` by IPC: an unlisted IPC takes the entry of the largest listed IPC below it."""

    epochs: ByIpc
    batch_size: ByIpc
    cap_batch_at_set_size: bool
    order: Literal["reshuffled-each-epoch"]
    drop_last: Literal[False]

    @model_validator(mode="after")
    def _smallest_ipc_listed(self):
        for table in (self.epochs, self.batch_size):
            if 1 not in table:
                raise ValueError("epochs and batch_size need an entry for IPC 1, which smaller listed IPCs fall back to")
        return self


class Dsa(StrictModel):
    """Differentiable Siamese augmentation, methods C."""

    name: Literal["dsa"]
    strategy: tuple[Literal["color", "crop", "cutout", "flip", "scale", "rotate"], ...]
    mode: Literal["one-op-per-batch"]
    brightness: float
    saturation: float
    contrast: float
    crop_pad: Fraction
    cutout: Fraction
    flip: Fraction
    scale: Positive
    rotate_degrees: float
    align_corners: bool


class CropFlip(StrictModel):
    """Random resized crop and horizontal flip. Sets with patch_shuffle f > 1 are shuffled, then cropped with scale (1/f, 1)."""

    name: Literal["random-resized-crop-flip"]
    scale: tuple[Fraction, Fraction]
    ratio: tuple[Positive, Positive]
    interpolation: Literal["bilinear"]
    antialias: Literal[True]
    flip: Fraction
    patch_shuffle_scale: Literal["one-over-factor"]


class Evaluation(StrictModel):
    """How the test split is seen. Nothing is chosen on it: the last epoch is the one that is measured."""

    resize_short_side: Annotated[int, Field(ge=0)]  # 0: images keep their size
    center_crop: Annotated[int, Field(ge=0)]  # 0: no crop
    interpolation: Literal["none", "bilinear"]
    epoch: Literal["last"]
    test_time_augmentation: Literal["none"]


class Numerics(StrictModel):
    """`precision` holds for training and for the forward passes of the measurement; loss and accuracy are taken in float32."""

    precision: Literal["fp32", "bf16-autocast"]
    tf32: bool
    world_size: Literal[1]
