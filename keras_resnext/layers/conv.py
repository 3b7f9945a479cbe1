"""The convolution. Grouped: https://arxiv.org/abs/1611.05431, Figure 3(c)."""

import dataclasses
from typing import Any

import keras
import numpy as np

from keras_resnext.data_config import DataConfig
from keras_resnext.kernels import kernels
from keras_resnext.kernels.generic import Tensor
from keras_resnext.layers.activation import activate
from keras_resnext.layers.direct import DirectCall
from keras_resnext.layers.padding import SymmetricPadding


@keras.saving.register_keras_serializable(package="keras_resnext")
class Conv2D(DirectCall, SymmetricPadding, keras.layers.Conv2D):
    """2D convolution, grouped or not, with symmetric padding.

    `keras.layers.Conv2D` with two differences. Its `"symmetric"` padding adds
    equally many zeros on both sides, as in every published ResNeXt; Keras'
    `"same"` adds more at the end when it strides. And it computes with a
    kernel that is fast on the backend in use. Both have the same variables.

    Args:
        filters: Number of output channels.
        kernel_size: Height and width of the kernel; odd if padded.
        strides: Step of the kernel.
        padding: `"symmetric"`, which keeps the size except for the strides, or
            `"valid"`, none.
        dilation_rate: Distance of the kernel's taps; may be combined with
            strides.
        data_config: Preparation of images, a `DataConfig`, stored in the first
            convolution of a model; it does not affect the computation.
        **kwargs: Other arguments of `keras.layers.Conv2D`.

    Call arguments:
        inputs: Images, `(batch, height, width, channels)` or, channels
            first, `(batch, channels, height, width)`.

    Returns:
        Images of the layer's compute dtype; height and width are
        `ceil(size / strides)` when padded symmetrically.

    Raises:
        ValueError: If `padding` is unknown, if the kernel is even and padded,
            or if channels are not divisible by `groups`.

    Example:
    >>> x = np.ones((1, 56, 56, 128), "float32")
    >>> keras_resnext.layers.Conv2D(128, 3, strides=2, groups=32)(x).shape
    (1, 28, 28, 128)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        strides: int | tuple[int, int] = 1,
        padding: str = "symmetric",
        dilation_rate: int | tuple[int, int] = 1,
        data_config: DataConfig | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        # Keras refuses strides with dilation, and this padding.
        super().__init__(filters, kernel_size, strides, "valid", **kwargs)
        self.dilation_rate = tuple(np.broadcast_to(dilation_rate, 2).tolist())
        self.pad(padding, "kernel_size", self.kernel_size, self.dilation_rate)
        self.supports_jit = kernels.supports_jit()
        if isinstance(data_config, dict):
            data_config = DataConfig(**data_config)
        self.data_config = data_config

    def call(self, inputs: Tensor) -> Tensor:
        # Keras adds the bias along the wrong axis if width equals channels.
        y = self.convolution_op(
            inputs, self.kernel, self.bias if self.use_bias else None
        )
        return activate(y, self.activation)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self.data_config is not None:
            config["data_config"] = dataclasses.asdict(self.data_config)
        return config

    def convolution_op(
        self, inputs: Tensor, kernel: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        if bias is not None:
            bias = keras.ops.convert_to_tensor(bias)
        return kernels.conv2d(
            inputs,
            keras.ops.convert_to_tensor(kernel),
            self.strides,
            self.pixels,
            self.dilation_rate,
            self.groups,
            self.data_format,
            bias,
        )
