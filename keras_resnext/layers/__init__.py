"""Layers, which can also be used on their own."""

from keras_resnext.layers.add_activation import AddActivation as AddActivation
from keras_resnext.layers.batch_norm import (
    BatchNormalization as BatchNormalization,
)
from keras_resnext.layers.bilinear_attention import (
    BilinearAttention as BilinearAttention,
)
from keras_resnext.layers.classifier import Classifier as Classifier
from keras_resnext.layers.conv import Conv2D as Conv2D
from keras_resnext.layers.efficient_channel_attention import (
    EfficientChannelAttention as EfficientChannelAttention,
)
from keras_resnext.layers.global_context import GlobalContext as GlobalContext
from keras_resnext.layers.pooling import MaxPooling2D as MaxPooling2D
from keras_resnext.layers.selective_kernel import (
    SelectiveKernel as SelectiveKernel,
)
from keras_resnext.layers.squeeze_excite import SqueezeExcite as SqueezeExcite
from keras_resnext.layers.stochastic_depth import (
    StochasticDepth as StochasticDepth,
)

__all__ = [
    "AddActivation",
    "BatchNormalization",
    "BilinearAttention",
    "Classifier",
    "Conv2D",
    "EfficientChannelAttention",
    "GlobalContext",
    "MaxPooling2D",
    "SelectiveKernel",
    "SqueezeExcite",
    "StochasticDepth",
]
