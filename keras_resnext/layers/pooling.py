"""Max pooling of the stem. https://arxiv.org/abs/1611.05431, Table 1."""

from typing import Any

import keras

from keras_resnext.kernels import kernels
from keras_resnext.kernels.generic import Tensor
from keras_resnext.layers.direct import DirectCall
from keras_resnext.layers.padding import SymmetricPadding


@keras.saving.register_keras_serializable(package="keras_resnext")
class MaxPooling2D(DirectCall, SymmetricPadding, keras.layers.MaxPooling2D):
    """Max pooling of images, with symmetric padding.

    `keras.layers.MaxPooling2D` with two differences. Its `"symmetric"`
    padding is equally wide on both sides, as in every published ResNeXt;
    Keras' `"same"` may pad only the end. And it computes with a kernel that is
    fast on the backend in use: on torch, Keras' own copies the images to
    channels first in memory, which slows down the layers that follow.

    Args:
        pool_size: Height and width of a window; odd if padded.
        strides: Step of the window; `None` for its size.
        padding: `"symmetric"`, which keeps the size except for the strides, or
            `"valid"`, none. Padding is never the maximum.
        nonnegative: Whether no input is below zero, as after a ReLU. Zeros
            then suffice as padding, which is faster on TensorFlow.
        **kwargs: Other arguments of `keras.layers.MaxPooling2D`.

    Call arguments:
        inputs: Images, `(batch, height, width, channels)` or, channels
            first, `(batch, channels, height, width)`; larger than half of
            `pool_size` if padded.

    Returns:
        Images of the dtype of `inputs`; height and width are
        `ceil(size / strides)` when padded symmetrically.

    Raises:
        ValueError: If `padding` is unknown, or the window is even and padded.

    Example:
    >>> x = np.ones((1, 112, 112, 64), "float32")
    >>> keras_resnext.layers.MaxPooling2D(3, strides=2)(x).shape
    (1, 56, 56, 64)
    """

    def __init__(
        self,
        pool_size: int | tuple[int, int] = 3,
        strides: int | tuple[int, int] | None = None,
        padding: str = "symmetric",
        nonnegative: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, strides, "valid", **kwargs)
        self.nonnegative = nonnegative
        self.pad(padding, "pool_size", self.pool_size)

    def call(self, inputs: Tensor) -> Tensor:
        return kernels.max_pool2d(
            inputs,
            self.pool_size,
            self.strides,
            self.pixels,
            self.data_format,
            self.nonnegative,
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "nonnegative": self.nonnegative}
