"""The parts of a ResNeXt, as functions on Keras tensors.

Each takes a tensor and the name that its layers start with, and returns a
tensor. https://arxiv.org/abs/1611.05431, Table 1 and Figure 3(c).
"""

from collections.abc import Callable
from typing import Any

import keras

from keras_resnext.kernels.generic import Tensor
from keras_resnext.layers import BatchNormalization
from keras_resnext.layers import Conv2D
from keras_resnext.layers import EfficientChannelAttention
from keras_resnext.layers import GlobalContext
from keras_resnext.layers import MaxPooling2D
from keras_resnext.layers import Merge
from keras_resnext.layers import SqueezeExcite
from keras_resnext.variants import Attention
from keras_resnext.variants import ResNeXtConfig
from keras_resnext.variants import Stem

Activation = str | Callable[..., Any] | None

BATCH_NORM_MOMENTUM = 0.9  # which PyTorch calls 0.1
BATCH_NORM_EPSILON = 1e-5


def stem(x: Tensor, config: Stem, activation: str) -> Tensor:
    """One convolution, or the three of a deep stem, and the pooling."""
    for i, width in enumerate(config.widths, start=1):
        strides = config.strides if i == 1 else 1
        x = conv(x, width, config.kernel_size, f"stem_conv{i}", strides)
        x = batch_norm(x, f"stem_bn{i}", activation)
    if config.pool == "max":
        x = MaxPooling2D(3, 2, name="stem_pool")(x)
    elif config.pool == "avg":
        x = keras.layers.AveragePooling2D(2, name="stem_pool")(x)
    return x


def stage(x: Tensor, index: int, config: ResNeXtConfig) -> Tensor:
    """The residual blocks of one stage; the first block strides."""
    for block in range(1, config.depths[index - 1] + 1):
        strides = 2 if block == 1 and index > 1 else 1
        name = f"stage{index}_block{block}"
        x = bottleneck(x, name, index, strides, config)
    return x


def bottleneck(
    x: Tensor, name: str, index: int, strides: int, config: ResNeXtConfig
) -> Tensor:
    """Split, transform, merge: 1x1, grouped 3x3, 1x1, plus the shortcut.

    The stride sits in the 3x3, as the authors' code has it.
    """
    out_channels = config.out_channels[index - 1]
    width, groups = config.grouping.width_and_groups(out_channels)
    residual = x
    if strides > 1 or x.shape[channel_axis()] != out_channels:
        project = SHORTCUTS[config.shortcut]
        residual = project(x, out_channels, strides, f"{name}_shortcut")

    x = conv(x, width, 1, f"{name}_conv1")
    x = batch_norm(x, f"{name}_bn1", config.activation)
    pools = config.downsample == "avg_pool" and strides > 1
    conv2_strides = 1 if pools else strides
    x = conv(x, width, 3, f"{name}_conv2", conv2_strides, groups)
    x = batch_norm(x, f"{name}_bn2", config.activation)
    if pools:
        x = keras.layers.AveragePooling2D(strides, name=f"{name}_pool")(x)
    x = attention(x, f"{name}_attention", "bottleneck", config.attention)
    x = conv(x, out_channels, 1, f"{name}_conv3")
    x = batch_norm(x, f"{name}_bn3", zero=config.zero_init_last)
    x = attention(x, f"{name}_attention", "output", config.attention)
    return Merge(config.activation, name=f"{name}_out")([x, residual])


def attention(
    x: Tensor, name: str, position: str, config: Attention | None
) -> Tensor:
    """Weighs channels, if this is where the configuration has it."""
    if config is None or config.position != position:
        return x
    return ATTENTIONS[config.kind](name=name)(x)


def conv_shortcut(x: Tensor, filters: int, strides: int, name: str) -> Tensor:
    """A strided 1x1 convolution: the paper's shortcut of type B."""
    x = conv(x, filters, 1, f"{name}_conv", strides)
    return batch_norm(x, f"{name}_bn")


def avg_shortcut(x: Tensor, filters: int, strides: int, name: str) -> Tensor:
    """Pools, then convolves, so that no pixel is passed over (ResNet-D)."""
    if strides > 1:
        x = keras.layers.AveragePooling2D(
            2, strides, padding="same", name=f"{name}_pool"
        )(x)
    return conv_shortcut(x, filters, 1, name)


SHORTCUTS = {"conv": conv_shortcut, "avg": avg_shortcut}
ATTENTIONS = {
    "se": SqueezeExcite,
    "eca": EfficientChannelAttention,
    "gc": GlobalContext,
}


def conv(
    x: Tensor,
    filters: int,
    kernel_size: int,
    name: str,
    strides: int = 1,
    groups: int = 1,
) -> Tensor:
    """A convolution without bias, initialized as the authors' code does."""
    return Conv2D(
        filters,
        kernel_size,
        strides=strides,
        groups=groups,
        use_bias=False,
        # Over all the filters, whatever the groups; "he_normal" counts the
        # inputs of one group and comes out 5.7 times larger for 32x4d.
        kernel_initializer=keras.initializers.VarianceScaling(
            2.0, "fan_out", "untruncated_normal"
        ),
        name=name,
    )(x)


def batch_norm(
    x: Tensor, name: str, activation: str | None = None, zero: bool = False
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


def classifier(x: Tensor, classes: int, activation: Activation) -> Tensor:
    """The last layer, in full precision under mixed precision too."""
    return keras.layers.Dense(
        classes,
        activation=activation,
        # PyTorch's own initialization of a linear layer's weights.
        kernel_initializer=keras.initializers.VarianceScaling(
            1 / 3, "fan_in", "uniform"
        ),
        dtype=keras.config.dtype_policy().variable_dtype,
        name="predictions",
    )(x)


def channel_axis() -> int:
    """The axis of channels under Keras' own setting."""
    return 1 if keras.config.image_data_format() == "channels_first" else 3
