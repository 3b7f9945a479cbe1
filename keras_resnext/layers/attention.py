"""Base class of channel attention."""

import math
from typing import Any

import keras
from keras import ops

from keras_resnext.kernels.generic import Tensor

Shape = tuple[int | None, ...]


class ChannelAttention(keras.layers.Layer):
    """Base class of channel attention.

    Args:
        data_format: `"channels_last"` or `"channels_first"`; `None` for
            Keras' own setting.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = data_format or keras.config.image_data_format()
        first = self.data_format == "channels_first"
        self.spatial_axes = (2, 3) if first else (1, 2)

    def channels(self, input_shape: Shape) -> int:
        """Return the number of channels of images of a shape."""
        (axis,) = {1, 2, 3} - set(self.spatial_axes)
        channels = input_shape[axis]
        assert channels is not None
        return channels

    def squeeze(self, inputs: Tensor) -> Tensor:
        """Return the mean of every channel, `(batch, channels)`."""
        return ops.mean(inputs, self.spatial_axes)

    def spread(self, x: Tensor) -> Tensor:
        """Return `(batch, channels)` as images of one pixel."""
        return ops.expand_dims(x, self.spatial_axes)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format}


class NarrowAttention(ChannelAttention):
    """Base class of channel attention with a bottleneck.

    Args:
        ratio: Width of the narrow layer as a share of the channels.
        divisor: Divisor of that width, which is rounded up.
        **kwargs: Arguments of `ChannelAttention`.

    Raises:
        ValueError: If `ratio` or `divisor` is not positive.
    """

    def __init__(self, ratio: float, divisor: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if ratio <= 0 or divisor < 1:
            raise ValueError(
                "`ratio` and `divisor` must be positive. "
                f"Received: {ratio} and {divisor}"
            )
        self.ratio = ratio
        self.divisor = divisor

    def narrow(self, channels: int) -> int:
        """Return the width of the narrow layer."""
        return math.ceil(channels * self.ratio / self.divisor) * self.divisor

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "ratio": self.ratio,
            "divisor": self.divisor,
        }
