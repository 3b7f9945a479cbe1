"""Squeeze-and-excitation. https://arxiv.org/abs/1709.01507."""

from typing import Any

import keras
from keras import ops

from keras_resnext.kernels.generic import Tensor
from keras_resnext.layers.activation import activate
from keras_resnext.layers.attention import NarrowAttention
from keras_resnext.layers.attention import Shape


@keras.saving.register_keras_serializable(package="keras_resnext")
class SqueezeExcite(NarrowAttention):
    """Squeeze-and-excitation: weights channels by the means of all channels.

    The channels' means pass through two dense layers, a narrow and a wide
    one, and a sigmoid; the results scale the channels (equations 2 to 4 of
    the paper).

    Args:
        ratio: Width of the narrow layer as a share of the channels.
        divisor: Divisor of that width, which is rounded up.
        activation: Activation of the narrow layer.
        **kwargs: Arguments of `keras.layers.Layer`, and `data_format`:
            `"channels_last"`, `"channels_first"` or `None` for Keras' own.

    Call arguments:
        inputs: Images, `(batch, height, width, channels)` or, channels
            first, `(batch, channels, height, width)`.

    Returns:
        Images of the shape of `inputs` and of the layer's compute dtype.

    Raises:
        ValueError: If `ratio` or `divisor` is not positive.

    Example:
    >>> x = np.ones((1, 14, 14, 256), "float32")
    >>> keras_resnext.layers.SqueezeExcite()(x).shape
    (1, 14, 14, 256)
    """

    def __init__(
        self,
        ratio: float = 1 / 16,
        divisor: int = 8,
        activation: Any = "relu",
        **kwargs: Any,
    ) -> None:
        super().__init__(ratio, divisor, **kwargs)
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: Shape) -> None:
        channels = self.channels(input_shape)
        narrow = self.narrow(channels)
        for name, wide_in, wide_out in (
            ("reduce", channels, narrow),
            ("expand", narrow, channels),
        ):
            kernel = self.add_weight(
                (wide_in, wide_out), "glorot_uniform", name=f"{name}_kernel"
            )
            bias = self.add_weight((wide_out,), "zeros", name=f"{name}_bias")
            setattr(self, f"{name}_kernel", kernel)
            setattr(self, f"{name}_bias", bias)

    def call(self, inputs: Tensor) -> Tensor:
        # Half precision would save nothing here, and hides NaN: oneDNN's
        # float16 products with a fused activation turn it into a number.
        x = ops.cast(self.squeeze(inputs), "float32")
        x = ops.add(ops.matmul(x, self.reduce_kernel), self.reduce_bias)
        x = activate(x, self.activation)
        x = ops.add(ops.matmul(x, self.expand_kernel), self.expand_bias)
        gates = self.spread(ops.cast(ops.sigmoid(x), inputs.dtype))
        return ops.multiply(inputs, gates)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
        }
