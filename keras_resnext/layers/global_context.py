"""Global context. https://arxiv.org/abs/1904.11492."""

from typing import Any

import keras
from keras import ops

from keras_resnext.kernels.generic import Tensor
from keras_resnext.layers.activation import activate
from keras_resnext.layers.attention import ChannelAttention
from keras_resnext.layers.attention import Shape


@keras.saving.register_keras_serializable(package="keras_resnext")
class GlobalContext(ChannelAttention):
    """Global context: adds a summary of the whole image to every pixel.

    An attention map, a softmax over all pixels, weights the mean of the
    image's pixels; a bottleneck of two dense layers with layer normalization
    transforms it; the result is added to every pixel (Figure 4(d) of the
    paper). The layer is initialized as the identity.

    Args:
        ratio: Width of the bottleneck as a share of the channels.
        activation: Activation of the bottleneck.
        epsilon: Added to the bottleneck's variance before the square root.
        **kwargs: Arguments of `keras.layers.Layer`, and `data_format`:
            `"channels_last"`, `"channels_first"` or `None` for Keras' own.

    Call arguments:
        inputs: Images, `(batch, height, width, channels)` or, channels
            first, `(batch, channels, height, width)`.

    Returns:
        Images of the shape of `inputs` and of the layer's compute dtype.

    Raises:
        ValueError: If `ratio` is not positive.

    Example:
    >>> x = np.ones((1, 16, 16, 64), "float32")
    >>> keras_resnext.layers.GlobalContext()(x).shape
    (1, 16, 16, 64)
    """

    def __init__(
        self,
        ratio: float = 1 / 8,
        activation: Any = "relu",
        epsilon: float = 1e-6,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if ratio <= 0:
            raise ValueError(f"`ratio` must be positive. Received: {ratio}")
        self.ratio = ratio
        self.activation = keras.activations.get(activation)
        self.epsilon = epsilon

    def build(self, input_shape: Shape) -> None:
        channels = self.channels(input_shape)
        narrow = max(1, int(channels * self.ratio))
        self.context_kernel = self.add_weight(
            (channels, 1), "he_normal", name="context_kernel"
        )
        self.context_bias = self.add_weight((1,), "zeros", name="context_bias")
        self.narrow_kernel = self.add_weight(
            (channels, narrow), name="narrow_kernel"
        )
        self.narrow_bias = self.add_weight(
            (narrow,), "zeros", name="narrow_bias"
        )
        self.narrow_gamma = self.add_weight(
            (narrow,), "ones", name="narrow_gamma"
        )
        self.narrow_beta = self.add_weight(
            (narrow,), "zeros", name="narrow_beta"
        )
        self.wide_kernel = self.add_weight(
            (narrow, channels), "zeros", name="wide_kernel"
        )
        self.wide_bias = self.add_weight((channels,), "zeros", name="wide_bias")

    def call(self, inputs: Tensor) -> Tensor:
        x = ops.matmul(self._context(inputs), self.narrow_kernel)
        x = self._normalize(ops.add(x, self.narrow_bias))
        x = ops.matmul(activate(x, self.activation), self.wide_kernel)
        x = ops.add(x, self.wide_bias)
        return ops.add(inputs, self.spread(x))

    def _context(self, inputs: Tensor) -> Tensor:
        """Return the mean of all pixels, weighted by the attention map."""
        pixels = inputs
        if self.data_format == "channels_first":
            pixels = ops.transpose(pixels, (0, 2, 3, 1))
        # One axis of pixels: a softmax over two needs a known batch size.
        _, height, width, channels = ops.shape(pixels)
        pixels = ops.reshape(pixels, (-1, height * width, channels))
        scores = ops.add(
            ops.matmul(pixels, self.context_kernel), self.context_bias
        )
        weights = ops.softmax(scores, axis=1)
        return ops.sum(ops.multiply(pixels, weights), 1)

    def _normalize(self, x: Tensor) -> Tensor:
        wide = ops.cast(x, "float32")
        mean, variance = ops.moments(wide, -1, keepdims=True)
        wide = ops.multiply(
            ops.subtract(wide, mean), ops.rsqrt(variance + self.epsilon)
        )
        x = ops.cast(wide, x.dtype)
        return ops.add(ops.multiply(x, self.narrow_gamma), self.narrow_beta)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "ratio": self.ratio,
            "activation": keras.activations.serialize(self.activation),
            "epsilon": self.epsilon,
        }
