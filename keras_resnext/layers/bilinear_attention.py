"""Bilinear attention.

https://openaccess.thecvf.com/content_CVPR_2020/html/Chi_Non-Local_Neural_Networks_With_Grouped_Bilinear_Attentional_Transforms_CVPR_2020_paper.html
"""

from typing import Any

import keras
from keras import ops

from keras_resnext.kernels import kernels
from keras_resnext.kernels.generic import Tensor
from keras_resnext.layers.attention import NarrowAttention
from keras_resnext.layers.attention import Shape
from keras_resnext.layers.batch_norm import BatchNormalization
from keras_resnext.layers.conv import Conv2D
from keras_resnext.layers.folding import fold

# The attributes that hold a convolution and its batch normalization.
_ACTIVATED = ("reduce", "score", "mix", "expand")


@keras.saving.register_keras_serializable(package="keras_resnext")
class BilinearAttention(NarrowAttention):
    """Bilinear attention: mixes rows and columns of blocks of an image.

    The image is cut into `block_size` by `block_size` blocks. For each group
    of channels two square matrices are computed, P from the rows of blocks
    and Q from the columns; rows of P and columns of Q sum to one. A copy X of
    the image with fewer channels, whose elements are blocks, becomes P X Q,
    is expanded to all channels and added to the image (the paper's grouped
    bilinear attentional transform).

    Args:
        block_size: Number of blocks in height and in width, which must be
            divisible by it.
        groups: Number of groups of channels.
        ratio: Width of the narrow copy as a share of the channels.
        divisor: Divisor of that width, which is rounded up.
        activation: Activation of each of the four 1x1 convolutions.
        dropout: Dropout rate of the added channels in training.
        seed: Seed of the dropout.
        normalize: Whether batch normalization comes between each of the four
            convolutions and its activation; otherwise they have a bias.
        **kwargs: Arguments of `keras.layers.Layer`, and `data_format`:
            `"channels_last"`, `"channels_first"` or `None` for Keras' own.

    Call arguments:
        inputs: Images, `(batch, height, width, channels)` or, channels
            first, `(batch, channels, height, width)`.
        training: Whether to drop channels, normalize by the batch's own
            statistics and update the moving ones.

    Returns:
        Images of the shape of `inputs` and of the layer's compute dtype.

    Raises:
        ValueError: If an argument is not positive or `dropout` not a rate, if
            the narrow width is not divisible by `groups`, or if height or
            width is not divisible by `block_size`.

    Example:
    >>> x = np.ones((1, 16, 24, 64), "float32")
    >>> keras_resnext.layers.BilinearAttention()(x).shape
    (1, 16, 24, 64)
    """

    def __init__(
        self,
        block_size: int = 8,
        groups: int = 2,
        ratio: float = 1 / 4,
        divisor: int = 8,
        activation: Any = "relu",
        dropout: float = 0.2,
        seed: int | None = None,
        normalize: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(ratio, divisor, **kwargs)
        if block_size < 1 or groups < 1:
            raise ValueError(
                "`block_size` and `groups` must be positive. "
                f"Received: {block_size} and {groups}"
            )
        self.block_size = block_size
        self.groups = groups
        self.activation = keras.activations.get(activation)
        self.dropout = keras.layers.SpatialDropout2D(
            dropout, self.data_format, seed, dtype=self.dtype_policy
        )
        self.normalize = normalize

    def build(self, input_shape: Shape) -> None:
        self._check_blocks(input_shape)
        channels = self.channels(input_shape)
        narrow = self.narrow(channels)
        if narrow % self.groups:
            raise ValueError(
                f"The narrow width, {narrow} of {channels} channels, must be "
                f"divisible by `groups`. Received: {self.groups}"
            )
        size = self.block_size
        matrices = self.groups * size**2
        self.reduce = self._activated("reduce", channels, narrow)
        self.score = self._activated("score", narrow, self.groups)
        self.row_conv = self._conv(
            "row_conv", self.groups, matrices, (size, 1), use_bias=True
        )
        self.column_conv = self._conv(
            "column_conv", self.groups, matrices, (1, size), use_bias=True
        )
        self.mix = self._activated("mix", narrow, narrow)
        self.expand = self._activated("expand", narrow, channels)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        def activated(layers: list[keras.layers.Layer], x: Tensor) -> Tensor:
            conv, *norms = layers
            x = conv(x)
            for norm in norms:
                x = norm(x, training=training)
            return x

        self._check_blocks(inputs.shape)
        x = activated(self.reduce, inputs)
        scores = activated(self.score, x)
        columns = self._turned(self._rows(self._turned(scores)))
        p = self._matrix(self.row_conv(self._rows(scores)), axis=3)
        q = self._matrix(self.column_conv(columns), axis=2)
        x = self._mix_rows(x, p)
        x = self._mix_rows(self._turned(x), ops.swapaxes(q, 2, 3))
        x = activated(self.mix, self._turned(x))
        x = activated(self.expand, x)
        return ops.add(inputs, self.dropout(x, training=training))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self._check_blocks(input_shape)
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "block_size": self.block_size,
            "groups": self.groups,
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout.rate,
            "seed": self.dropout.seed,
            "normalize": self.normalize,
        }

    def folded(self, **changes: Any) -> "BilinearAttention":
        """Return an equivalent layer for inference, without normalization.

        Args:
            **changes: Other arguments to change.
        """
        made = type(self).from_config(
            {**self.get_config(), "normalize": False, "dropout": 0.0, **changes}
        )
        made.build_from_config(self.get_build_config())
        for name in _ACTIVATED:
            (conv,) = getattr(made, name)
            conv.set_weights(fold(*getattr(self, name)))
        made.row_conv.set_weights(self.row_conv.get_weights())
        made.column_conv.set_weights(self.column_conv.get_weights())
        return made

    def _turned(self, x: Tensor) -> Tensor:
        """Transpose the rows and columns of images."""
        return ops.swapaxes(x, *self.spatial_axes)

    def _rows(self, scores: Tensor) -> Tensor:
        """Return the largest score in each row of blocks, one column wide."""
        height, width = self.spatial_axes
        x = kernels.largest(scores, width)
        shape = [-1, *ops.shape(x)[1:]]
        shape[width] = shape[height] // self.block_size
        shape[height] = self.block_size
        return kernels.largest(ops.reshape(x, shape), width)

    def _matrix(self, x: Tensor, axis: int) -> Tensor:
        """Return a matrix per group: sigmoids over their sum along an axis."""
        x = ops.reshape(x, (-1, self.groups, self.block_size, self.block_size))
        # By logarithms, as all sigmoids might be zero.
        return ops.softmax(ops.log_sigmoid(x), axis)

    def _mix_rows(self, x: Tensor, matrix: Tensor) -> Tensor:
        """Make each row of blocks a weighted mean of all of them."""
        height, width = self.spatial_axes
        size, shape = self.block_size, ops.shape(x)
        pixels = shape[height] // size * shape[width]
        members = self.channels(shape) // self.groups
        # Row of blocks (j, i), pixel in it, group and member of the group.
        if self.data_format == "channels_first":
            axes = "bgmjp", "bgmip"
            blocks = (-1, self.groups, members, size, pixels)
        else:
            axes = "bjpgm", "bipgm"
            blocks = (-1, size, pixels, self.groups, members)
        x = ops.reshape(x, blocks)
        x = ops.einsum(f"bgij,{axes[0]}->{axes[1]}", matrix, x)
        return ops.reshape(x, (-1, *shape[1:]))

    def _check_blocks(self, shape: Shape) -> None:
        sizes = [shape[axis] for axis in self.spatial_axes]
        if any(size is not None and size % self.block_size for size in sizes):
            raise ValueError(
                "Height and width must be divisible by block_size="
                f"{self.block_size}. Received images of shape: {tuple(shape)}"
            )

    def _activated(
        self, name: str, channels: int, filters: int
    ) -> list[keras.layers.Layer]:
        """Return a 1x1 convolution, its batch normalization and activation."""
        if not self.normalize:
            return [
                self._conv(
                    f"{name}_conv",
                    channels,
                    filters,
                    use_bias=True,
                    activation=self.activation,
                )
            ]
        norm = BatchNormalization(
            axis=1 if self.data_format == "channels_first" else -1,
            activation=self.activation,
            dtype=self.dtype_policy,
            name=f"{name}_norm",
        )
        norm.build(self._shape(filters))
        return [self._conv(f"{name}_conv", channels, filters), norm]

    def _conv(
        self,
        name: str,
        channels: int,
        filters: int,
        kernel_size: tuple[int, int] = (1, 1),
        use_bias: bool = False,
        activation: Any = None,
    ) -> keras.layers.Layer:
        conv = Conv2D(
            filters,
            kernel_size,
            padding="valid",
            use_bias=use_bias,
            activation=activation,
            data_format=self.data_format,
            kernel_initializer=keras.initializers.VarianceScaling(
                2.0, "fan_out", "untruncated_normal"
            ),
            dtype=self.dtype_policy,
            name=name,
        )
        conv.build(self._shape(channels))
        return conv

    def _shape(self, channels: int) -> Shape:
        """Return the shape of images with a number of channels."""
        if self.data_format == "channels_first":
            return (None, channels, None, None)
        return (None, None, None, channels)
