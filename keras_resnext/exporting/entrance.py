"""Pictures for a network: given, drawn, normalized."""

from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_resnext.preprocessing import EvaluationTransform
from keras_resnext.preprocessing import evaluation_transform
from keras_resnext.resnext_model import get_data_config

DRAWN = 8


@dataclass(frozen=True)
class Entrance:
    """What stands before a network.

    Args:
        size: Height and width.
        channels: Number of channels.
        data_format: The network's.
        transform: How its pictures were resized, cropped and normalized.
        pixels: Whether the artefact does the normalization.
    """

    size: tuple[int, int]
    channels: int
    data_format: str
    transform: EvaluationTransform
    pixels: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """That of a picture as the artefact takes it."""
        if not self.pixels and self.data_format == "channels_first":
            return (self.channels, *self.size)
        return (*self.size, self.channels)

    @property
    def scale(self) -> np.ndarray:
        return 1 / (255 * np.array(self.transform.std[: self.channels]))

    @property
    def offset(self) -> np.ndarray:
        mean, std = self.transform.mean, self.transform.std
        return -np.divide(mean, std)[: self.channels]

    def normalized(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels as the network takes them."""
        # In double precision, as no artefact does it.
        x = (pixels * self.scale + self.offset).astype("float32")
        first = self.data_format == "channels_first"
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if first else x

    def drawn(self) -> np.ndarray:
        """Pictures out of nothing, the same each time, as it takes them.

        Their power falls with the square of the frequency, as it does in
        photographs (Field, 1987, https://doi.org/10.1364/JOSAA.4.002379).

        Returns:
            Pixels as uint8, or what the network takes as float32.
        """
        random = np.random.default_rng(0)
        height, width = self.size
        noise = random.normal(size=(DRAWN, height, width, self.channels))
        # Colours go together.
        noise += 2 * noise.mean(-1, keepdims=True)
        frequency = np.hypot(
            np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :]
        )
        frequency[0, 0] = np.inf
        spectrum = np.fft.fft2(noise, axes=(1, 2)) / frequency[..., None]
        x = np.fft.ifft2(spectrum, axes=(1, 2)).real
        x /= x.std((1, 2, 3), keepdims=True)
        means = random.uniform(70, 185, (DRAWN, 1, 1, 1))
        made = np.clip(means + 55 * x, 0, 255).round().astype("uint8")
        return made if self.pixels else self.normalized(made)

    def wrapped(self, model: keras.Model, dtype: str) -> keras.Model:
        """The network behind its normalization, if that belongs to it."""
        if not self.pixels:
            return model
        pixels = keras.Input(self.shape, dtype=dtype, name="pixels")
        # Rescaling would go by the data format that is set just now.
        x = ops.cast(pixels, "float32") * self.scale.astype("float32")
        x = x + self.offset.astype("float32")
        if self.data_format == "channels_first":
            x = ops.transpose(x, (0, 3, 1, 2))
        return keras.Model(pixels, model(x), name=model.name)


def entrance(
    model: keras.Model, transform: EvaluationTransform | None, pixels: bool
) -> Entrance:
    """What stands before a model.

    Raises:
        ValueError: If it takes no pictures of one fixed size.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"'{model.name}' must have one input and one output to be "
            f"exported. It has {len(model.inputs)} and {len(model.outputs)}."
        )
    shape = model.inputs[0].shape
    convolutions = (
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.Conv2D)
    )
    data_format = next(convolutions).data_format
    if len(shape) != 4 or None in shape[1:]:
        raise ValueError(
            f"'{model.name}' must take pictures of one size to be exported. "
            f"Its input shape is {tuple(shape)}; build it with an "
            "`input_shape` such as (224, 224, 3)."
        )
    first = data_format == "channels_first"
    channels = shape[1] if first else shape[3]
    size = shape[2:4] if first else shape[1:3]
    if pixels and channels not in (1, 3):
        raise ValueError(
            f"'{model.name}' takes {channels} channels, which are no pixels. "
            "Use include_preprocessing=False."
        )
    if transform is None:
        config = replace(get_data_config(model), size=max(size))
        transform = evaluation_transform(config)
    return Entrance(tuple(size), channels, data_format, transform, pixels)


def checked(data: Any, door: Entrance) -> np.ndarray:
    """Somebody's pictures, as one array.

    Args:
        data: An array or a tensor of pictures, or something that yields
            single pictures or batches of them.
        door: What takes them.

    Returns:
        Pixels as uint8, or what the network takes as float32.

    Raises:
        ValueError: If they have another shape or range.
    """
    x = _stacked(data)
    if x.ndim != 4 or x.shape[1:] != door.shape or not len(x):
        raise ValueError(
            "`representative_data` must be pictures of shape (count, "
            f"{', '.join(map(str, door.shape))}). Received shape: {x.shape}"
        )
    if x.dtype.kind not in "uif" or not np.isfinite(x).all():
        raise ValueError(
            "`representative_data` must be finite numbers. Received dtype: "
            f"{x.dtype}"
        )
    low, high = float(x.min()), float(x.max())
    if not door.pixels:
        if x.dtype.kind != "f" or max(-low, high) > 50:
            raise ValueError(
                "Without preprocessing `representative_data` must be floats, "
                "normalized as the network takes them. Received "
                f"{x.dtype} in [{low:.4g}, {high:.4g}]"
            )
        return x.astype("float32")
    if low < 0 or high > 255 or (x.dtype.kind == "f" and high <= 1):
        raise ValueError(
            "`representative_data` must be pixels in [0, 255]. Received "
            f"{x.dtype} in [{low:.4g}, {high:.4g}]"
        )
    return np.round(x).astype("uint8")


def _stacked(data: Any) -> np.ndarray:
    if hasattr(data, "shape"):
        return _array(data)
    if isinstance(data, str) or not isinstance(data, Iterable):
        raise ValueError(
            "`representative_data` must be an array of pictures, or yield "
            f"pictures. Received: {type(data).__name__}"
        )
    parts = [_array(each) for each in data]
    parts = [each[None] if each.ndim == 3 else each for each in parts]
    if len({each.shape[1:] for each in parts}) != 1:
        raise ValueError(
            "`representative_data` must be pictures of one shape, at least "
            f"one. Received {len(parts)} of the shapes "
            f"{sorted({each.shape[1:] for each in parts})}"
        )
    return np.concatenate(parts)


def _array(data: Any) -> np.ndarray:
    return (
        keras.ops.convert_to_numpy(data)
        if keras.ops.is_tensor(data)
        else np.asarray(data)
    )
