"""Data configuration of a model, as a record. Standard library only."""

import math
from dataclasses import dataclass

from keras_resnext.checks import check_fields
from keras_resnext.weights.records import IMAGENET_MEAN
from keras_resnext.weights.records import IMAGENET_STD
from keras_resnext.weights.records import Weights

INTERPOLATIONS = ("bilinear", "bicubic")


@dataclass(frozen=True)
class DataConfig:
    """Preparation of a model's images, and the names of its classes.

    Terms are timm's. Pixels in [0, 1] become `(pixels - mean) / std`.

    Args:
        mean: Mean of red, green and blue.
        std: Standard deviation of red, green and blue.
        interpolation: Filter of the resize, `"bilinear"` or `"bicubic"`.
        crop_pct: `size` divided by the shorter side after resizing.
        size: Height and width of the model's images, in pixels, or `None`
            for any size.
        labels: Names of the classes in the order of the model's outputs, or
            `None` if unknown.
        weights: Name of the published checkpoint (`"variant.tag"`) that the
            model started from, or `None`.

    Raises:
        ValueError: If a value is out of range.

    Example:
    >>> keras_resnext.DataConfig(size=224, crop_pct=0.875).resize
    256
    """

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: str = "bilinear"
    crop_pct: float = 0.875
    size: int | None = None
    labels: tuple[str, ...] | None = None
    weights: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("mean", "std", "labels"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(getattr(self, name)))
        numbers = (*self.mean, *self.std)
        lengths = {len(self.mean), len(self.std)}
        if (
            lengths != {3}
            or min(self.std) <= 0
            or not math.isfinite(sum(numbers))
        ):
            raise ValueError(
                "`mean` and `std` must be three numbers, for red, green and "
                f"blue, `std` above 0. Received: mean={self.mean}, "
                f"std={self.std}"
            )
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"`interpolation` must be one of {', '.join(INTERPOLATIONS)}. "
                f"Received: {self.interpolation!r}"
            )
        if not 0 < self.crop_pct <= 1:
            raise ValueError(
                "`crop_pct` must be above 0 and at most 1. Received: "
                f"{self.crop_pct!r}"
            )
        if self.size is not None and self.size < 1:
            raise ValueError(
                f"`size` must be at least one pixel. Received: {self.size!r}"
            )

    @classmethod
    def of_weights(cls, weights: Weights) -> "DataConfig":
        """Return a published checkpoint's configuration, without labels."""
        best = weights.evaluations[0]
        return cls(
            weights.mean,
            weights.std,
            weights.interpolation,
            best.crop_pct,
            best.size,
            weights=weights.name,
        )

    @property
    def resize(self) -> int | None:
        """Length of the shorter side after resizing, in pixels."""
        if self.size is None:
            return None
        # timm's rounding; the addend recovers sizes from their ratio.
        return math.floor(self.size / self.crop_pct + 1e-9)
