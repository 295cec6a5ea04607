"""Channel statistics by name: a set stored already normalised says which ones it was stored with (methods A.7).

Mean and standard deviation per RGB channel, for pixels in 0..1. A protocol states its own; a test holds the two together.
"""

from __future__ import annotations

Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]

NORMALIZATIONS: dict[str, Statistics] = {
    # torchvision; DC, DCB, MTT, DATM, EDC and RDED use it on TinyImageNet too.
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    # DC utils.get_dataset; MTT and SRe2L use these on CIFAR-100 as well.
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    # DC utils.get_dataset.
    "cifar100": ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
    # DeepCore, DWA.
    "tiny-imagenet": ((0.4802, 0.4481, 0.3975), (0.2770, 0.2691, 0.2821)),
    # Mean and deviation of all pixels of the training split, to two digits; grey, so the channels agree.
    "digits": ((0.31, 0.31, 0.31), (0.38, 0.38, 0.38)),
}
