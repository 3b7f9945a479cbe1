"""Selective kernels. https://arxiv.org/abs/1903.06586."""

from functools import reduce
from typing import Any

import keras
from keras import ops

from keras_resnext.kernels.generic import Tensor
from keras_resnext.layers.activation import activate
from keras_resnext.layers.attention import NarrowAttention
from keras_resnext.layers.attention import Shape
from keras_resnext.layers.batch_norm import BatchNormalization
from keras_resnext.layers.folding import scale_and_offset
from keras_resnext.layers.folding import wide


@keras.saving.register_keras_serializable(package="keras_resnext")
class SelectiveKernel(NarrowAttention):
    """Selective kernel: sums several views of an image, weighted by channel.

    The views are outputs of convolutions with kernels of different sizes,
    which are not part of the layer. The mean of each channel, summed over the
    views, passes through a narrow dense layer with batch normalization and a
    wide one; a softmax over the views weights each in the sum (equations 1 to
    6 of the paper).

    Args:
        ratio: Width of the narrow layer as a share of the channels.
        divisor: Divisor of that width, which is rounded up, and thus its
            minimum, the paper's L.
        activation: Activation of the narrow layer.
        normalize: Whether batch normalization precedes it; otherwise the
            narrow layer has a bias.
        **kwargs: Arguments of `keras.layers.Layer`, and `data_format`:
            `"channels_last"`, `"channels_first"` or `None` for Keras' own.

    Call arguments:
        inputs: A list of images of one shape,
            `(batch, height, width, channels)` or, channels first,
            `(batch, channels, height, width)`.
        training: Whether to normalize by the batch's own statistics and
            update the moving ones.

    Returns:
        Images of the shape of one input and of the layer's compute dtype.

    Raises:
        ValueError: If `ratio` or `divisor` is not positive, or if `inputs` is
            not a list of images of one shape.

    Example:
    >>> x = np.ones((1, 56, 56, 128), "float32")
    >>> keras_resnext.layers.SelectiveKernel()([x, x]).shape
    (1, 56, 56, 128)
    """

    def __init__(
        self,
        ratio: float = 1 / 16,
        divisor: int = 32,
        activation: Any = "relu",
        normalize: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(ratio, divisor, **kwargs)
        self.activation = keras.activations.get(activation)
        self.normalize = normalize

    def build(self, input_shape: Shape | list[Shape]) -> None:
        channels = self.channels(self.compute_output_shape(input_shape))
        narrow = self.narrow(channels)
        self.compact_kernel = self.add_weight(
            (channels, narrow), name="compact_kernel"
        )
        if self.normalize:
            # For images of one pixel: for vectors, Keras computes the biased
            # variance.
            self.compact_norm = BatchNormalization(
                activation=self.activation,
                dtype=self.dtype_policy,
                name="compact_norm",
            )
            self.compact_norm.build((None, 1, 1, narrow))
        else:
            self.compact_bias = self.add_weight(
                (narrow,), "zeros", name="compact_bias"
            )
        self.select_kernel = self.add_weight(
            (narrow, len(input_shape) * channels), name="select_kernel"
        )

    def call(
        self, inputs: list[Tensor], training: bool | None = None
    ) -> Tensor:
        x = reduce(ops.add, [self.squeeze(view) for view in inputs])
        x = ops.matmul(ops.expand_dims(x, (1, 2)), self.compact_kernel)
        if self.normalize:
            x = self.compact_norm(x, training=training)
        else:
            x = activate(ops.add(x, self.compact_bias), self.activation)
        x = ops.matmul(x, self.select_kernel)
        channels = self.channels(inputs[0].shape)
        x = ops.softmax(ops.reshape(x, (-1, len(inputs), channels)), axis=1)
        shares = [self.spread(x[:, i]) for i in range(len(inputs))]
        return reduce(ops.add, map(ops.multiply, inputs, shares))

    def compute_output_shape(self, input_shape: Shape | list[Shape]) -> Shape:
        shape = input_shape[0]
        if not isinstance(shape, list | tuple) or any(
            other != shape for other in input_shape
        ):
            raise ValueError(
                "`inputs` must be a list of images of one shape. "
                f"Received shapes: {input_shape}"
            )
        return tuple(shape)

    def get_config(self) -> dict[str, Any]:
        activation = keras.activations.serialize(self.activation)
        return {
            **super().get_config(),
            "activation": activation,
            "normalize": self.normalize,
        }

    def folded(self, **changes: Any) -> "SelectiveKernel":
        """Return an equivalent layer for inference, without normalization.

        Args:
            **changes: Other arguments to change.
        """
        made = type(self).from_config(
            {**self.get_config(), "normalize": False, **changes}
        )
        made.build_from_config(self.get_build_config())
        scale, offset = scale_and_offset(self.compact_norm)
        made.compact_kernel.assign(wide(self.compact_kernel) * scale)
        made.compact_bias.assign(offset)
        made.select_kernel.assign(wide(self.select_kernel))
        return made
