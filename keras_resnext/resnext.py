"""From a configuration to a Keras graph: input, stages, head."""

import keras

from keras_resnext import blocks
from keras_resnext.kernels.generic import Tensor
from keras_resnext.variants import ResNeXtConfig

POOLINGS = {
    "avg": keras.layers.GlobalAveragePooling2D,
    "max": keras.layers.GlobalMaxPooling2D,
}


def build(
    config: ResNeXtConfig,
    include_top: bool = True,
    input_tensor: Tensor | None = None,
    input_shape: tuple[int | None, ...] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: blocks.Activation = "softmax",
    name: str | None = None,
) -> keras.Model:
    """Builds the network of a configuration, randomly initialized.

    The arguments are those of `ResNeXt50`, without `weights`.
    """
    if pooling not in (None, *POOLINGS):
        raise ValueError(
            f"`pooling` must be None, 'avg' or 'max'. Received: {pooling!r}"
        )
    inputs = _input(config, include_top, input_tensor, input_shape)
    x = blocks.stem(inputs, config.stem)
    for index in range(1, len(config.depths) + 1):
        x = blocks.stage(x, index, config)
    if include_top:
        x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = blocks.classifier(x, classes, classifier_activation)
    elif pooling is not None:
        x = POOLINGS[pooling](name=f"{pooling}_pool")(x)
    if input_tensor is not None:
        sources = keras.utils.get_source_inputs(input_tensor)
        inputs = sources[0] if len(sources) == 1 else sources
    return keras.Model(inputs, x, name=name or "resnext")


def _input(
    config: ResNeXtConfig,
    include_top: bool,
    input_tensor: Tensor | None,
    input_shape: tuple[int | None, ...] | None,
) -> Tensor:
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
    shape = _shape(size, 3) if input_shape is None else tuple(input_shape)
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
    if len(shape) != 3 or not shape[axis]:
        raise ValueError(
            "`input_shape` must be three numbers, under image_data_format="
            f"'{keras.config.image_data_format()}' {example}"
        )
    halvings = len(config.depths) - 1 + (config.stem.pool is not None)
    smallest = config.stem.strides * 2**halvings
    spatial = shape[:axis] + shape[axis + 1 :]
    if any(size is not None and size < smallest for size in spatial):
        raise ValueError(
            f"Images must be at least {smallest}x{smallest} pixels, {example}"
        )
