"""Preprocessing of images, and names of predicted classes."""

import dataclasses
import statistics
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from PIL import Image

from keras_resnext import imagenet
from keras_resnext import resizing
from keras_resnext import tensors
from keras_resnext.checks import check_type
from keras_resnext.data_config import DataConfig
from keras_resnext.resnext_model import class_names
from keras_resnext.resnext_model import get_data_config
from keras_resnext.resnext_model import image_shape
from keras_resnext.weights.catalog import get_weights
from keras_resnext.weights.records import IMAGENET_MEAN
from keras_resnext.weights.records import IMAGENET_STD
from keras_resnext.weights.records import Weights


def preprocess_input(
    x: Any,
    data_format: str | None = None,
    model: keras.Model | None = None,
) -> Any:
    """Normalize pixels for a model.

    That is `(x / 255 - mean) / std` per channel. Checkpoints from ImageNet
    take `mean = (0.485, 0.456, 0.406)` and `std = (0.229, 0.224, 0.225)` for
    red, green and blue; for others, pass the model. Images are not resized;
    see `evaluation_transform` for the exact transform of a model.

    Gray images of one channel are normalized with the averages over red,
    green and blue, 0.449 and 0.226: the adapted stem of a model for one
    channel sums the kernels of the three.

    Args:
        x: Pixels in [0, 255], an image or a batch, of shape
            `(height, width, 3)` or `(batch, height, width, 3)` (RGB), or with
            1 channel (gray); the channels come before height and width for
            `"channels_first"`. An array, a list, an RGB image of PIL, a
            symbolic tensor of Keras, or an eager or traced tensor of
            TensorFlow, JAX or torch, with any backend of Keras, such as inside
            `tf.data.Dataset.map`, `jax.jit` or the workers of a torch
            `DataLoader`. Any integer or float dtype. A tensor with an unknown
            number of channels counts as RGB. It is not modified.
        data_format: `"channels_last"` or `"channels_first"`. `None` takes
            `keras.config.image_data_format()`.
        model: Model whose mean and standard deviation to normalize with;
            `None` takes ImageNet's.

    Returns:
        The normalized pixels in `x`'s shape and the dtype
        `keras.config.floatx()`: a tensor of the same framework for a tensor,
        else a NumPy array.

    Raises:
        TypeError: If `x` is neither an array nor a dense tensor of numbers.
        ValueError: If `x` does not have the shape of RGB or gray images, or is
            an array that contains NaN or infinite values. An array that looks
            already scaled or normalized only warns.

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
    is_tensor = tensors.framework_of(x) is not None
    if not is_tensor:
        x = tensors.as_array(x)
    channels = None
    # An image that TensorFlow decoded may not even have a known rank.
    if getattr(x.shape, "rank", 0) is not None:
        channels = tensors.count_channels(tuple(x.shape), data_format)
    tensors.check_dtype(x)
    if not is_tensor:
        tensors.check_values(x)

    # Half precision would lose the last bits of the pixels.
    floatx = keras.config.floatx()
    dtype = "float64" if floatx == "float64" else "float32"
    config = DataConfig() if model is None else get_data_config(model)
    scale = np.asarray((config.mean, config.std), dtype)
    if channels == 1:
        scale = scale.mean(1, keepdims=True)
    after = (1, 1) if data_format == "channels_first" else ()
    mean, std = tensors.constant(scale.reshape(2, -1, *after), like=x)
    normalized = (tensors.cast(x, dtype) / 255.0 - mean) / std
    return tensors.cast(normalized, floatx)


def decode_predictions(
    preds: Any, top: int = 5, model: keras.Model | None = None
) -> list[list[tuple[str, str, Any]]]:
    """Return the names of the most probable classes.

    Args:
        preds: Array or tensor of shape `(batch, classes)`, probabilities or
            logits, of any float dtype.
        top: Number of classes to return per image.
        model: The model that made the predictions, for the names of its
            classes. `None` for the 1,000 classes of ImageNet.

    Returns:
        For each image a list of `top` tuples `(id, name, score)`, the
        highest score first. `id` is the WordNet id of an ImageNet class, else
        the class's index as text; names of ImageNet are spelled as in
        `keras.applications`.

    Raises:
        ValueError: If `preds` has another shape, `top` is not between 1 and
            the number of classes, or the model has no names for them.

    Example:
    >>> preds = np.zeros((1, 1000), "float32")
    >>> preds[0, 3] = 1.0
    >>> [(wnid, name, score)] = decode_predictions(preds, top=1)[0]
    >>> wnid, name
    ('n01491361', 'tiger_shark')
    """
    names = [(each.wnid, each.name) for each in imagenet.classes()]
    if model is not None:
        labels = class_names(model)
        if labels is None:
            raise ValueError(
                f"'{model.name}' has no names for its classes. Set "
                "them: keras_resnext.set_data_config(model, labels=[...])."
            )
        if list(labels) != [name for _, name in names]:
            names = [(str(i), label) for i, label in enumerate(labels)]
    classes = len(names)
    preds = np.asarray(keras.ops.convert_to_numpy(preds))
    if preds.shape == (classes,):
        raise ValueError(
            f"`preds` must be a batch, of shape (batch, {classes}). Received "
            f"shape: {preds.shape}. For one image pass `preds[None]`."
        )
    if preds.ndim != 2 or preds.shape[1] != classes:
        hint = (
            " Without `model`, names are known only for the 1,000 classes of "
            "ImageNet."
        )
        raise ValueError(
            f"`preds` must have the shape (batch, {classes}). Received shape: "
            f"{preds.shape}.{hint if model is None else ''}"
        )
    check_type("top", top, int)
    if not 1 <= top <= classes:
        raise ValueError(
            f"`top` must be between 1 and {classes}. Received: {top}"
        )
    if np.isnan(preds).any():
        row = int(np.isnan(preds).any(1).argmax())
        raise ValueError(
            f"`preds` contains NaN, for the first time in row {row}."
        )
    best = np.argsort(-preds, axis=1, kind="stable")[:, :top]
    return [
        [(*names[index], scores[index]) for index in indices]
        for scores, indices in zip(preds, best, strict=True)
    ]


@dataclass(frozen=True)
class EvaluationTransform:
    """Transform with which a checkpoint's published accuracy was measured.

    The shorter side is resized with PIL's antialiased filter, the center is
    cropped, pixels are divided by 255 and normalized: on PIL images the same
    as torchvision's `Resize`, `CenterCrop`, `ToTensor` and `Normalize`, and
    thus as timm's evaluation transform. If an image's sides differ by more
    than a factor of 64, only the part inside the crop is resized, which
    bounds memory and may change a pixel by a rounding step.

    Args:
        resize: Length of the shorter side after resizing, in pixels.
        crop_size: Height and width of the crop, in pixels. A smaller image is
            padded with black.
        interpolation: `"bilinear"` or `"bicubic"`.
        mean: Mean of each channel (RGB) of pixels in [0, 1]; one number if the
            model takes gray images.
        std: Standard deviation of each channel, likewise.

    Raises:
        ValueError: If an argument is invalid.

    Example:
    >>> transform = EvaluationTransform(resize=256, crop_size=224)
    >>> transform(np.zeros((480, 640, 3), "uint8")).shape
    (224, 224, 3)
    """

    resize: int
    crop_size: int
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        if self.interpolation not in resizing.FILTERS:
            raise ValueError(
                "`interpolation` must be one of "
                f"{', '.join(resizing.FILTERS)}. Received: "
                f"{self.interpolation!r}"
            )
        if self.resize < 1 or self.crop_size < 1:
            raise ValueError(
                "`resize` and `crop_size` must be at least one pixel. "
                f"Received: resize={self.resize}, crop_size={self.crop_size}"
            )
        if {len(self.mean), len(self.std)} not in ({1}, {3}):
            raise ValueError(
                "`mean` and `std` must both have 3 numbers (RGB) or both 1 "
                f"(gray). Received: mean={self.mean}, std={self.std}"
            )

    @property
    def channels(self) -> int:
        """Number of channels of the result: 3 (RGB) or 1 (gray)."""
        return len(self.mean)

    def for_channels(self, channels: int) -> "EvaluationTransform":
        """Adapt the transform to a model for RGB or for gray images.

        Since a stem for one channel sums the kernels of the three, `mean` and
        `std` become their averages. The reverse repeats them.

        Args:
            channels: 3 or 1.

        Returns:
            An `EvaluationTransform` for that many channels.

        Raises:
            ValueError: If `channels` is another number.

        Example:
        >>> EvaluationTransform(256, 224).for_channels(1).mean
        (0.449,)
        """
        if channels not in (1, 3):
            raise ValueError(
                "`channels` must be 3 (RGB) or 1 (gray): only such images can "
                f"be resized. Received: {channels}"
            )
        if channels == self.channels:
            return self
        mean, std = (
            (round(statistics.fmean(values), 6),) * channels
            for values in (self.mean, self.std)
        )
        return dataclasses.replace(self, mean=mean, std=std)

    def __call__(self, image: Image.Image | np.ndarray) -> np.ndarray:
        """Transform one image.

        Args:
            image: PIL image, or array of dtype uint8 and shape
                `(height, width, 3)` (RGB), `(height, width, 1)` or
                `(height, width)` (gray). It is converted to the model's
                channels. Transparency is dropped; an EXIF orientation is not
                applied.

        Returns:
            Normalized pixels, a float32 array of shape
            `(crop_size, crop_size, channels)`.

        Raises:
            TypeError: If `image` is neither a PIL image nor an array.
            ValueError: If it has another shape, or not 8 bits per channel.
        """
        return self.normalize(self.pixels(image))

    def normalize(self, pixels: np.ndarray) -> np.ndarray:
        """Normalize the result of `pixels`, or a batch of results.

        Args:
            pixels: Pixels in [0, 255], an array of shape
                `(..., height, width, channels)`.

        Returns:
            A float32 array of the same shape.
        """
        scaled = pixels.astype("float32") / np.float32(255)
        mean, std = np.asarray((self.mean, self.std), "float32")
        return (scaled - mean) / std

    def pixels(self, image: Image.Image | np.ndarray) -> np.ndarray:
        """Resize and crop one image, without normalization.

        The result is the input of a model exported with its preprocessing.

        Args:
            image: As for `__call__`.

        Returns:
            Pixels in [0, 255], a uint8 array of shape
            `(crop_size, crop_size, channels)`.

        Raises:
            TypeError: As for `__call__`.
            ValueError: As for `__call__`.

        Example:
        >>> transform = keras_resnext.evaluation_transform(model)
        >>> pixels = transform.pixels(image)
        >>> pixels.shape, pixels.dtype
        ((224, 224, 3), dtype('uint8'))
        """
        image = resizing.to_mode(image, "RGB" if self.channels == 3 else "L")
        image = resizing.resize_and_crop(
            image, self.resize, self.crop_size, self.interpolation
        )
        return np.asarray(image).reshape(
            self.crop_size, self.crop_size, self.channels
        )


def evaluation_transform(
    source: keras.Model | Weights | DataConfig | str, size: int | None = None
) -> EvaluationTransform:
    """Return the exact evaluation transform of a model or checkpoint.

    Args:
        source: A model built here, or one that contains such a model, even
            after training, saving and loading; or the name or record of a
            published checkpoint, as for and from `get_weights`; or a
            `DataConfig`.
        size: Height and width of the model's input, in pixels. `None` takes
            the model's own, else that with the best published accuracy, whose
            crop ratio also applies to sizes without a published accuracy.

    Returns:
        An `EvaluationTransform`, a callable from an image to a float32 array
        of shape `(size, size, 3)`, or 1 for a model of gray images. It does
        not normalize if the model itself does.

    Raises:
        ValueError: If `size` is less than one pixel or not the model's, if
            the size is unknown, or if there is no such checkpoint.
        TypeError: If `source` is something else.

    Example:
    >>> transform = keras_resnext.evaluation_transform(model)
    >>> probabilities = model.predict(transform(image)[None])
    """
    channels = 3
    if isinstance(source, str):
        source = get_weights(source)
    if isinstance(source, Weights):
        config = DataConfig.of_weights(source)
    elif isinstance(source, DataConfig):
        config = source
    elif isinstance(source, keras.Model):
        config = get_data_config(source)
        channels, own_size = image_shape(source)
        if own_size is not None and size not in (None, own_size):
            raise ValueError(
                f"'{source.name}' takes images of {own_size} pixels only. "
                f"Received: size={size}"
            )
        size = size if own_size is None else own_size
    else:
        raise TypeError(
            "`source` must be a model, the name or record of a published "
            "checkpoint (keras_resnext.list_weights) or a DataConfig. "
            f"Received: {source!r}"
        )
    crop_pct = config.crop_pct
    if size not in (None, config.size) and config.weights is not None:
        crop_pct = _published_crop(config.weights, size) or crop_pct
    size = config.size if size is None else size
    if size is None:
        raise ValueError(
            "The size of the images is unknown. Pass it as `size`, or set it "
            "on the model: keras_resnext.set_data_config(model, size=224)."
        )
    chosen = dataclasses.replace(config, size=size, crop_pct=crop_pct)
    assert chosen.resize is not None
    return EvaluationTransform(
        resize=chosen.resize,
        crop_size=size,
        interpolation=config.interpolation,
        mean=config.mean,
        std=config.std,
    ).for_channels(channels)


def _published_crop(name: str, size: int | None) -> float | None:
    """Return the crop ratio of a checkpoint's published accuracy at a size."""
    try:
        rows = get_weights(name).evaluations
    except ValueError:
        return None
    return next((row.crop_pct for row in rows if row.size == size), None)
