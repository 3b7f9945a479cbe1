"""Max pooling, as of the stem: https://arxiv.org/abs/1611.05431, Table 1."""

import keras

from keras_resnext.kernels import kernels
from keras_resnext.kernels.generic import Tensor


@keras.saving.register_keras_serializable(package="keras_resnext")
class MaxPooling2D(keras.layers.MaxPooling2D):
    """Max pooling of images.

    `keras.layers.MaxPooling2D` on the kernel that is fast on the backend at
    hand: Keras' own copies the images on torch and hands them on channels
    first in memory, which slows down whatever comes next.

    Args:
        pool_size: Height and width of a window.
        strides: Step of the window; `None` for its size.
        padding: `"valid"`, none, or `"same"`, as Keras pads.
        **kwargs: Every other argument of `keras.layers.MaxPooling2D`.

    Call arguments:
        inputs: Images, `(batch, height, width, channels)` or, channels
            first, `(batch, channels, height, width)`.

    Returns:
        Images, `(size - pool_size) // strides + 1` high and wide unless
        padded, of the dtype of `inputs`.

    Example:
    >>> x = np.ones((1, 113, 113, 64), "float32")
    >>> keras_resnext.layers.MaxPooling2D(3, 2)(x).shape
    (1, 56, 56, 64)
    """

    def call(self, inputs: Tensor) -> Tensor:
        if self.padding == "same":
            return super().call(inputs)
        return kernels.max_pool2d(
            inputs, self.pool_size, self.strides, self.data_format
        )
