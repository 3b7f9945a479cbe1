"""Keras graph of a configuration: input, stages, head."""

import keras

from keras_resnext import blocks
from keras_resnext.checks import check_classes
from keras_resnext.config import ResNeXtConfig
from keras_resnext.inputs import images
from keras_resnext.kernels.generic import Tensor
from keras_resnext.resnext_model import ResNeXtModel

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
) -> ResNeXtModel:
    """Build the model of a configuration, randomly initialized.

    The arguments are those of `ResNeXt50`, without `weights`.
    """
    if pooling not in (None, *POOLINGS):
        raise ValueError(
            f"`pooling` must be None, 'avg' or 'max'. Received: {pooling!r}"
        )
    check_classes(classes)
    inputs = images(config, include_top, input_tensor, input_shape)
    x = blocks.stem(inputs, config.stem, blocks.activation_of(config))
    for index in range(1, len(config.depths) + 1):
        x = blocks.STAGES[config.stage](x, index, config)
    if include_top:
        x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
        if config.dropout:
            x = keras.layers.Dropout(config.dropout, name="dropout")(x)
        x = blocks.classifier(x, classes, classifier_activation)
    elif pooling is not None:
        x = POOLINGS[pooling](name=f"{pooling}_pool")(x)
    if input_tensor is not None:
        sources = keras.utils.get_source_inputs(input_tensor)
        inputs = sources[0] if len(sources) == 1 else sources
    return ResNeXtModel(inputs, x, name=name or "resnext")
