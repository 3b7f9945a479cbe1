"""The parts of a ResNeXt, as functions on Keras tensors.

Each takes and returns a tensor. See https://arxiv.org/abs/1611.05431, Table 1
and Figure 3(c).
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_resnext.config import Attention
from keras_resnext.config import Block
from keras_resnext.config import ResNeXtConfig
from keras_resnext.config import Stem
from keras_resnext.kernels.generic import Tensor
from keras_resnext.layers import AddActivation
from keras_resnext.layers import BatchNormalization
from keras_resnext.layers import BilinearAttention
from keras_resnext.layers import Classifier
from keras_resnext.layers import Conv2D
from keras_resnext.layers import EfficientChannelAttention
from keras_resnext.layers import GlobalContext
from keras_resnext.layers import MaxPooling2D
from keras_resnext.layers import SelectiveKernel
from keras_resnext.layers import SqueezeExcite
from keras_resnext.layers import StochasticDepth

Activation = str | Callable[..., Any] | None

BATCH_NORM_MOMENTUM = 0.9  # PyTorch's momentum of 0.1
BATCH_NORM_EPSILON = 1e-5


def stem(x: Tensor, config: Stem, activation: Activation) -> Tensor:
    """Convolve once, or three times for a deep stem, and pool."""
    for i, width in enumerate(config.widths, start=1):
        strides = config.strides if i == 1 else 1
        x = conv(x, width, config.kernel_size, f"stem_conv{i}", strides)
        x = batch_norm(x, f"stem_bn{i}", activation)
    if config.pool == "max":
        nonnegative = activation == "relu"
        x = MaxPooling2D(3, 2, nonnegative=nonnegative, name="stem_pool")(x)
    elif config.pool == "max_ceil":
        x = keras.layers.ZeroPadding2D(((0, 1), (0, 1)), name="stem_pad")(x)
        x = MaxPooling2D(3, 2, padding="valid", name="stem_pool")(x)
    elif config.pool == "avg":
        x = keras.layers.AveragePooling2D(2, name="stem_pool")(x)
    return x


def residual_stage(x: Tensor, index: int, config: ResNeXtConfig) -> Tensor:
    """Residual blocks, of which only the first may stride."""
    for block in config.blocks(index):
        x = bottleneck(x, block, config)
    return x


def cross_stage(x: Tensor, index: int, config: ResNeXtConfig) -> Tensor:
    """Residual blocks on half of the channels; the other half bypasses them.

    https://arxiv.org/abs/1911.11929, Figure 2(b).
    """
    name, axis = f"stage{index}", channel_axis()
    out_channels = config.out_channels[index - 1]
    activation = activation_of(config)
    strides, dilation = config.strides_and_dilation(index)
    if strides * dilation > 1:
        _, groups = config.grouping.width_and_groups(out_channels)
        rate = max(dilation // 2, 1)
        width = x.shape[axis]
        x = conv(x, width, 3, f"{name}_down_conv", strides, groups, rate)
        x = batch_norm(x, f"{name}_down_bn", activation)
    x = conv(x, out_channels, 1, f"{name}_expand_conv")
    x = batch_norm(x, f"{name}_expand_bn")
    passing, x = ops.split(x, 2, axis)
    x = residual_stage(x, index, config)
    x = conv(x, out_channels // 2, 1, f"{name}_inner_conv")
    x = batch_norm(x, f"{name}_inner_bn", activation)
    x = keras.layers.Concatenate(axis, name=f"{name}_concat")([passing, x])
    x = conv(x, out_channels, 1, f"{name}_outer_conv")
    return batch_norm(x, f"{name}_outer_bn", activation)


def bottleneck(x: Tensor, block: Block, config: ResNeXtConfig) -> Tensor:
    """Split, transform, merge: 1x1, grouped 3x3, 1x1, plus the shortcut.

    The 3x3 convolution strides, as in the authors' code.
    """
    name, activation = block.name, activation_of(config)
    residual = x
    if block.strides > 1 or x.shape[channel_axis()] != block.filters:
        project = SHORTCUTS[config.shortcut]
        residual = project(x, block, f"{name}_shortcut")

    x = conv(x, block.width, 1, f"{name}_conv1")
    x = batch_norm(x, f"{name}_bn1", activation)
    pools = config.antialias and block.strides > 1
    middle = CONVS[config.conv]
    x = middle(x, block, 1 if pools else block.strides, activation)
    if pools:
        x = keras.layers.AveragePooling2D(block.strides, name=f"{name}_pool")(x)
    x = attention(x, f"{name}_attention", "bottleneck", config.attention)
    x = conv(x, block.filters, 1, f"{name}_conv3")
    x = batch_norm(x, f"{name}_bn3", zero=config.zero_init_last)
    x = attention(x, f"{name}_attention", "output", config.attention)
    if block.stochastic_depth:
        drop = StochasticDepth(block.stochastic_depth, name=f"{name}_drop")
        x = drop(x)
    return AddActivation(activation, name=f"{name}_out")([x, residual])


def grouped_conv(
    x: Tensor, block: Block, strides: int, activation: Activation
) -> Tensor:
    """Apply the 3x3 convolution in as many groups as the cardinality."""
    name, rate = block.name, block.dilation
    x = conv(x, block.width, 3, f"{name}_conv2", strides, block.groups, rate)
    return batch_norm(x, f"{name}_bn2", activation)


def selective_kernel(
    x: Tensor, block: Block, strides: int, activation: Activation
) -> Tensor:
    """Two grouped 3x3 convolutions, one dilated, and attention to both."""
    paths = []
    for i in (1, 2):
        name, rate = f"{block.name}_path{i}", i * block.dilation
        y = conv(x, block.width, 3, f"{name}_conv", strides, block.groups, rate)
        paths.append(batch_norm(y, f"{name}_bn", activation))
    return SelectiveKernel(name=f"{block.name}_select")(paths)


def attention(
    x: Tensor, name: str, position: str, config: Attention | None
) -> Tensor:
    """Apply channel attention, if it is configured for this position."""
    if config is None or config.position != position:
        return x
    return ATTENTIONS[config.kind](name=name)(x)


def conv_shortcut(x: Tensor, block: Block, name: str) -> Tensor:
    """Apply a strided 1x1 convolution: the paper's shortcut of type B."""
    x = conv(x, block.filters, 1, f"{name}_conv", block.strides)
    return batch_norm(x, f"{name}_bn")


def avg_shortcut(x: Tensor, block: Block, name: str) -> Tensor:
    """Pool, then convolve, so that no pixel is skipped (ResNet-D)."""
    padding = "same"
    if block.stage > 1 and block.strides == 1:
        # In a dilated stage, timm's average includes zeros at the border.
        x = keras.layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_pad")(x)
        padding = "valid"
    if block.stage > 1:
        pool = keras.layers.AveragePooling2D(
            2, block.strides, padding, name=f"{name}_pool"
        )
        x = pool(x)
    x = conv(x, block.filters, 1, f"{name}_conv")
    return batch_norm(x, f"{name}_bn")


STAGES = {"residual": residual_stage, "cross_stage": cross_stage}
CONVS = {
    "grouped_conv": grouped_conv,
    "selective_kernel": selective_kernel,
}
SHORTCUTS = {"conv": conv_shortcut, "avg": avg_shortcut}
ATTENTIONS = {
    "se": SqueezeExcite,
    "eca": EfficientChannelAttention,
    "gc": GlobalContext,
    "bat": BilinearAttention,
}


def conv(
    x: Tensor,
    filters: int,
    kernel_size: int,
    name: str,
    strides: int = 1,
    groups: int = 1,
    dilation_rate: int = 1,
) -> Tensor:
    """Apply a convolution without bias, initialized as in the authors' code."""
    return Conv2D(
        filters,
        kernel_size,
        strides=strides,
        groups=groups,
        dilation_rate=dilation_rate,
        use_bias=False,
        # Fan-out over all filters, regardless of groups; "he_normal" counts
        # the inputs of one group, and is 5.7 times larger for 32x4d.
        kernel_initializer=keras.initializers.VarianceScaling(
            2.0, "fan_out", "untruncated_normal"
        ),
        name=name,
    )(x)


def batch_norm(
    x: Tensor, name: str, activation: Activation = None, zero: bool = False
) -> Tensor:
    """Batch normalization whose scale starts at one, or at zero."""
    return BatchNormalization(
        axis=channel_axis(),
        momentum=BATCH_NORM_MOMENTUM,
        epsilon=BATCH_NORM_EPSILON,
        activation=activation,
        gamma_initializer="zeros" if zero else "ones",
        name=name,
    )(x)


def activation_of(config: ResNeXtConfig) -> Activation:
    """Return a model's activation; leaky ReLU has PyTorch's slope of 0.01."""
    if config.activation == "leaky_relu":
        return keras.layers.LeakyReLU(0.01)
    return config.activation


def classifier(
    x: Tensor,
    classes: int,
    activation: Activation,
    labels: Sequence[str] | None = None,
) -> Tensor:
    """Apply the last layer, in full precision even under mixed precision."""
    return Classifier(
        classes,
        labels,
        activation=activation,
        # PyTorch's initialization of a linear layer's weights.
        kernel_initializer=keras.initializers.VarianceScaling(
            1 / 3, "fan_in", "uniform"
        ),
        dtype=keras.config.dtype_policy().variable_dtype,
        name="predictions",
    )(x)


def channel_axis() -> int:
    """Return the channel axis of Keras' image data format."""
    return 1 if keras.config.image_data_format() == "channels_first" else 3
