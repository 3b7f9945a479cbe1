"""Input of a model: images of a valid shape."""

import keras

from keras_resnext import blocks
from keras_resnext.checks import fits
from keras_resnext.config import ResNeXtConfig
from keras_resnext.kernels.generic import Tensor


def images(
    config: ResNeXtConfig,
    include_top: bool,
    input_tensor: Tensor | None,
    input_shape: tuple[int | None, ...] | None,
) -> Tensor:
    """Return a model's input: the given tensor, or a new one.

    Raises:
        ValueError: If models of `config` can't take such images.
    """
    if input_tensor is not None and keras.utils.is_keras_tensor(input_tensor):
        given = tuple(input_tensor.shape[1:])
        if input_shape is not None and tuple(input_shape) != given:
            raise ValueError(
                "`input_shape` and `input_tensor` contradict each other. "
                f"Received: {tuple(input_shape)} and a tensor of {given}. "
                "Leave `input_shape` out."
            )
        _validate_shape(given, config)
        return input_tensor
    size = config.default_size if include_top else None
    shape = _shape(size, 3) if input_shape is None else input_shape
    _validate_shape(shape, config)
    return keras.layers.Input(shape, tensor=input_tensor)


def _shape(size: int | None, channels: int) -> tuple[int | None, ...]:
    if blocks.channel_axis() == 1:
        return (channels, size, size)
    return (size, size, channels)


def _validate_shape(
    shape: tuple[int | None, ...], config: ResNeXtConfig
) -> None:
    example = f"such as {_shape(config.default_size, 3)}. Received: {shape}"
    axis = blocks.channel_axis() - 1
    sizes = fits(shape, tuple[int | None, ...])
    if not sizes or len(shape) != 3 or not shape[axis]:
        raise ValueError(
            "`input_shape` must be three numbers, under image_data_format="
            f"'{keras.config.image_data_format()}' {example}"
        )
    smallest = config.stem.total_strides * 2 ** (len(config.depths) - 1)
    spatial = [size for i, size in enumerate(shape) if i != axis]
    if any(size is not None and size < smallest for size in spatial):
        raise ValueError(
            f"Images must be at least {smallest}x{smallest} pixels, {example}"
        )
