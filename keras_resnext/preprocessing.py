"""Pictures in, class names out: what surrounds a classifier."""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from PIL import Image

from keras_resnext import imagenet
from keras_resnext.weights.records import IMAGENET_MEAN
from keras_resnext.weights.records import IMAGENET_STD
from keras_resnext.weights.records import Evaluation
from keras_resnext.weights.records import Weights

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Normalizes pixels with ImageNet's mean and standard deviation.

    Every ResNeXt here was trained on such pictures:
    `(x / 255 - mean) / std` per channel, with `mean = (0.485, 0.456, 0.406)`
    and `std = (0.229, 0.224, 0.225)` for red, green and blue. The size of the
    picture is left alone; see `evaluation_transform` for the exact transform
    of a checkpoint.

    Args:
        x: RGB pixels in [0, 255], a picture or a batch: an array, or an eager
            or symbolic tensor, of shape `(height, width, 3)` or
            `(batch, height, width, 3)` (channels second to fourth from last
            for `"channels_first"`), of any numeric dtype. It is not modified.
        data_format: `"channels_last"` or `"channels_first"`. `None` takes
            `keras.config.image_data_format()`.

    Returns:
        The normalized pixels in `x`'s shape and the dtype
        `keras.config.floatx()`: a NumPy array for a NumPy array, else a
        tensor.

    Raises:
        ValueError: If `x` has not the shape of RGB pictures, or is an array
            that holds NaN or infinite values. An array that looks as if it
            had been scaled or normalized already only warns.

    Example:
    >>> x = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3))
    >>> preprocess_input(x).shape
    (2, 224, 224, 3)
    """
    if data_format is None:
        data_format = keras.config.image_data_format()
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(
            "`data_format` must be 'channels_last', 'channels_first' or None. "
            f"Received: {data_format!r}"
        )
    is_tensor = keras.ops.is_tensor(x) or isinstance(x, keras.KerasTensor)
    if not is_tensor:
        x = np.asarray(x)
    # A picture that TensorFlow decoded may have no known rank at all.
    if getattr(x.shape, "rank", 0) is not None:
        _check_shape(tuple(x.shape), data_format)

    # Half precision would lose the last bits of the pixels on the way.
    floatx = keras.config.floatx()
    dtype = "float64" if floatx == "float64" else "float32"
    shape = (3, 1, 1) if data_format == "channels_first" else (3,)
    mean = np.reshape(IMAGENET_MEAN, shape).astype(dtype)
    std = np.reshape(IMAGENET_STD, shape).astype(dtype)
    if is_tensor:
        x = keras.ops.divide(keras.ops.cast(x, dtype), 255.0)
        x = keras.ops.divide(keras.ops.subtract(x, mean), std)
        return keras.ops.cast(x, floatx)
    _check_pixels(x)
    return ((x.astype(dtype) / 255.0 - mean) / std).astype(floatx)


def _check_shape(shape: tuple[int | None, ...], data_format: str) -> None:
    if len(shape) not in (3, 4):
        raise ValueError(
            "`x` must be a picture of rank 3 or a batch of rank 4. Received "
            f"shape: {shape}"
        )
    channels, other = shape[-1], shape[-3]
    if data_format == "channels_first":
        channels, other = other, channels
    if channels in (3, None):
        return
    hint = " Is `data_format` the right one?" if other == 3 else ""
    raise ValueError(
        f"`x` must have 3 channels (RGB) with data_format='{data_format}'. "
        f"Received shape: {shape}.{hint}"
    )


def _check_pixels(x: np.ndarray) -> None:
    if not x.size:
        return
    low, high = float(x.min()), float(x.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(
            f"`x` holds {np.count_nonzero(~np.isfinite(x))} NaN or infinite "
            f"values of {x.size}. Pixels must be finite, in [0, 255]."
        )
    is_float = keras.backend.is_float_dtype(x.dtype.name)
    if low < 0:
        looks = "normalized"
    elif is_float and 0 < high <= 1:
        looks = "divided by 255"
    else:
        return
    warnings.warn(
        f"`x` lies in [{low:.4g}, {high:.4g}] and looks as if it had been "
        f"{looks} already. `preprocess_input` expects pixels in [0, 255]: "
        "call it once, on the pixels as they were read.",
        UserWarning,
        stacklevel=3,
    )


def decode_predictions(
    preds: Any, top: int = 5
) -> list[list[tuple[str, str, Any]]]:
    """Names the most probable of the 1,000 ImageNet classes.

    Args:
        preds: Array or tensor of shape `(batch, 1000)`, probabilities or
            logits, of any float dtype.
        top: Number of classes to return per picture.

    Returns:
        For each picture a list of `top` tuples `(wnid, name, score)`, the
        highest score first. `wnid` is the WordNet id and `name` the label as
        `keras.applications` spells them.

    Raises:
        ValueError: If `preds` has another shape, or `top` is not between 1
            and 1000.

    Example:
    >>> preds = np.zeros((1, 1000), "float32")
    >>> preds[0, 3] = 1.0
    >>> [(wnid, name, score)] = decode_predictions(preds, top=1)[0]
    >>> wnid, name
    ('n01491361', 'tiger_shark')
    """
    names = [(each.wnid, each.name) for each in imagenet.classes()]
    preds = np.asarray(keras.ops.convert_to_numpy(preds))
    if preds.shape == (len(names),):
        raise ValueError(
            "`preds` must be a batch, of shape (batch, 1000). Received shape: "
            f"{preds.shape}. For one picture pass `preds[None]`."
        )
    if preds.ndim != 2 or preds.shape[1] != len(names):
        raise ValueError(
            "`preds` must have the shape (batch, 1000): names are known only "
            "for the 1,000 ImageNet classes, in their usual order. Received "
            f"shape: {preds.shape}. For other classes take the indices from "
            "`preds.argsort()` and your own list of names."
        )
    if not 1 <= top <= len(names):
        raise ValueError(
            f"`top` must be between 1 and {len(names)}. Received: {top}"
        )
    best = np.argsort(-preds, axis=1, kind="stable")[:, :top]
    return [
        [(*names[index], scores[index]) for index in indices]
        for scores, indices in zip(preds, best, strict=True)
    ]


@dataclass(frozen=True)
class EvaluationTransform:
    """The transform a checkpoint's published accuracy was measured with.

    The shorter side is resized with PIL's antialiased filter, the centre is
    cropped, pixels are divided by 255 and normalized: on PIL images the same
    as torchvision's `Resize`, `CenterCrop`, `ToTensor` and `Normalize`, so
    the same as timm's evaluation transform.

    Args:
        resize: Length of the shorter side after resizing, in pixels.
        crop: Height and width of the crop, in pixels. Where the resized
            picture is smaller, it is padded with black.
        interpolation: `"bilinear"` or `"bicubic"`.
        mean: Per-channel mean (RGB) taken off pixels in [0, 1].
        std: Per-channel deviation (RGB) they are then divided by.

    Raises:
        ValueError: If an argument is none of these.

    Example:
    >>> transform = EvaluationTransform(resize=256, crop=224)
    >>> transform(np.zeros((480, 640, 3), "uint8")).shape
    (224, 224, 3)
    """

    resize: int
    crop: int
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        if self.interpolation not in _FILTERS:
            raise ValueError(
                f"`interpolation` must be one of {', '.join(_FILTERS)}. "
                f"Received: {self.interpolation!r}"
            )
        if self.resize < 1 or self.crop < 1:
            raise ValueError(
                "`resize` and `crop` must be at least one pixel. Received: "
                f"resize={self.resize}, crop={self.crop}"
            )

    def __call__(self, image: Image.Image | np.ndarray) -> np.ndarray:
        """Transforms one picture.

        Args:
            image: PIL image, or array of dtype uint8 and shape
                `(height, width, 3)` (RGB) or `(height, width)` (grey).
                Transparency is dropped; an EXIF orientation is not applied.

        Returns:
            Normalized pixels, a float32 array of shape `(crop, crop, 3)`.

        Raises:
            TypeError: If `image` is neither a PIL image nor an array.
            ValueError: If it has another shape, or not 8 bits per channel.
        """
        pixels = self.pixels(image).astype("float32") / np.float32(255)
        mean, std = np.asarray((self.mean, self.std), "float32")
        return (pixels - mean) / std

    def pixels(self, image: Image.Image | np.ndarray) -> np.ndarray:
        """Resizes and crops one picture, and does not normalize it.

        That is what a network takes that was exported with its preprocessing.

        Args:
            image: As above.

        Returns:
            Pixels in [0, 255], a uint8 array of shape `(crop, crop, 3)`.

        Raises:
            TypeError: As above.
            ValueError: As above.

        Example:
        >>> transform = keras_resnext.evaluation_transform(model.weights_info)
        >>> pictures = np.stack([transform.pixels(each) for each in images])
        >>> keras_resnext.export(model, "out", representative_data=pictures)
        """
        image = _to_rgb(image)
        width, height = image.size
        short, long = sorted((width, height))
        # int(), not round(): torchvision cuts the longer side's fraction off.
        longer = int(self.resize * long / short)
        size = (
            (self.resize, longer) if width <= height else (longer, self.resize)
        )
        image = image.resize(size, _FILTERS[self.interpolation])
        left, top = (_crop_start(length, self.crop) for length in size)
        # PIL fills what a crop takes from outside the picture with zeros.
        image = image.crop((left, top, left + self.crop, top + self.crop))
        return np.asarray(image)


def _to_rgb(image: Image.Image | np.ndarray) -> Image.Image:
    if isinstance(image, Image.Image):
        # PIL would clip more than 8 bits to white.
        if image.mode[0] in "IF":
            raise ValueError(
                "`image` must have 8 bits per channel. Received a PIL image "
                f"of mode {image.mode!r}; scale it to [0, 255] first."
            )
        return image.convert("RGB")
    if not isinstance(image, np.ndarray):
        raise TypeError(
            "`image` must be a PIL image or a NumPy array. Received: "
            f"{type(image).__name__}"
        )
    if image.dtype != np.uint8:
        raise ValueError(
            "`image` must be of dtype uint8, pixels in [0, 255], since PIL "
            f"resizes it. Received dtype: {image.dtype}"
        )
    if image.ndim != 2 and (image.ndim != 3 or image.shape[2] != 3):
        raise ValueError(
            "`image` must be one picture of shape (height, width, 3) or "
            f"(height, width). Received shape: {image.shape}"
        )
    if not image.size:
        raise ValueError(f"`image` has no pixels. Its shape: {image.shape}")
    return Image.fromarray(image).convert("RGB")


def _crop_start(length: int, crop: int) -> int:
    if length < crop:
        # The odd pixel of padding goes behind, as in torchvision.
        return -((crop - length) // 2)
    return round((length - crop) / 2)


def evaluation_transform(
    weights: Weights, size: int | None = None
) -> EvaluationTransform:
    """The exact evaluation transform of a checkpoint.

    Args:
        weights: A record of the catalogue, as from `list_weights`.
        size: Height and width of the network's input, in pixels. `None` takes
            the one with the best published accuracy. A size without a
            published accuracy takes the crop ratio of the best one.

    Returns:
        An `EvaluationTransform`, a callable from a picture to a float32 array
        of shape `(size, size, 3)`.

    Raises:
        ValueError: If `size` is less than one pixel.

    Example:
    >>> from keras_resnext.weights.catalogue import find_weights
    >>> weights = find_weights("resnext50_32x4d", "a1h_in1k")
    >>> transform = evaluation_transform(weights, size=224)
    >>> transform.resize, transform.crop, transform.interpolation
    (235, 224, 'bicubic')
    """
    best = weights.evaluations[0]
    if size is None:
        chosen = best
    else:
        unpublished = Evaluation(size, best.crop, None, None)
        published = (row for row in weights.evaluations if row.size == size)
        chosen = next(published, unpublished)
    return EvaluationTransform(
        # timm's rounding; torchvision's sizes come out whole.
        resize=math.floor(chosen.size / chosen.crop),
        crop=chosen.size,
        interpolation=weights.interpolation,
        mean=weights.mean,
        std=weights.std,
    )
