"""Efficient channel attention. https://arxiv.org/abs/1910.03151."""

import math
from typing import Any

import keras
from keras import ops

from keras_resnext.kernels.generic import Tensor
from keras_resnext.layers.attention import ChannelAttention
from keras_resnext.layers.attention import Shape


@keras.saving.register_keras_serializable(package="keras_resnext")
class EfficientChannelAttention(ChannelAttention):
    """Efficient channel attention: weights channels by their neighbors.

    A short convolution over the channels' means, and a sigmoid: a handful of
    weights where squeeze-and-excitation needs two matrices (equation 9 of the
    paper).

    Args:
        kernel_size: Number of neighboring channels, odd; `None` derives it
            from the number of channels (equation 12).
        **kwargs: Arguments of `keras.layers.Layer`, and `data_format`:
            `"channels_last"`, `"channels_first"` or `None` for Keras' own.

    Call arguments:
        inputs: Images, `(batch, height, width, channels)` or, channels
            first, `(batch, channels, height, width)`.

    Returns:
        Images of the shape of `inputs` and of the layer's compute dtype.

    Raises:
        ValueError: If `kernel_size` is even or not positive.

    Example:
    >>> x = np.ones((1, 14, 14, 256), "float32")
    >>> keras_resnext.layers.EfficientChannelAttention()(x).shape
    (1, 14, 14, 256)
    """

    def __init__(
        self,
        kernel_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if kernel_size is not None and (kernel_size < 1 or not kernel_size % 2):
            raise ValueError(
                f"`kernel_size` must be odd. Received: {kernel_size}"
            )
        self.kernel_size = kernel_size

    def build(self, input_shape: Shape) -> None:
        channels = self.channels(input_shape)
        size = self.kernel_size or neighbors(channels)
        self.kernel = self.add_weight((size, 1, 1), name="kernel")

    def call(self, inputs: Tensor) -> Tensor:
        x = ops.expand_dims(self.squeeze(inputs), 2)
        x = ops.conv(x, self.kernel, 1, "same", "channels_last")
        gates = self.spread(ops.sigmoid(ops.squeeze(x, 2)))
        return ops.multiply(inputs, gates)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
        }


def neighbors(channels: int, gamma: float = 2.0, b: float = 1.0) -> int:
    """Return the odd kernel size of equation 12.

    Args:
        channels: Number of channels.
        gamma: The paper's gamma.
        b: The paper's b.

    Returns:
        An odd kernel size, at least 3.
    """
    size = int(abs((math.log2(channels) + b) / gamma))
    return max(size if size % 2 else size + 1, 3)
