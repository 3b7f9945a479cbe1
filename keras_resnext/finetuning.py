"""Transfer learning: freeze stages, swap the classifier, refresh statistics."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_resnext.blocks import Activation
from keras_resnext.blocks import classifier
from keras_resnext.features import last_layer
from keras_resnext.kernels.generic import Tensor
from keras_resnext.resnext_model import ResNeXtModel


def freeze(model: keras.Model, up_to: str | None) -> None:
    """Freezes a model from its input up to a stage, that stage included.

    Frozen layers keep their weights, and their batch normalization runs on
    the statistics that it has and keeps them. Every other layer is unfrozen,
    so that calling this again moves the border. Compile afterwards.

    Args:
        model: A model built here.
        up_to: `"stem"`, `"stage1"`, …; the name of any layer; or `None` to
            unfreeze everything.

    Raises:
        ValueError: If the model has no such stage or layer; the message says
            which there are.

    Example:
    >>> keras_resnext.finetuning.freeze(model, "stage3")
    >>> model.compile("sgd", "sparse_categorical_crossentropy")
    """
    frozen = set()
    if up_to is not None:
        border = last_layer(model, up_to)
        before = keras.Model(model.input, border.output)
        frozen = {layer.name for layer in before.layers}
    for layer in model.layers:
        layer.trainable = layer.name not in frozen


def replace_classifier(
    model: keras.Model,
    classes: int,
    activation: Activation = "softmax",
    dropout: float = 0.0,
    labels: Sequence[str] | None = None,
) -> ResNeXtModel:
    """Gives a model a new, randomly initialized classifier.

    Args:
        model: A model built here with its top, or without it and with
            `pooling`. Its other layers are shared, not copied.
        classes: Number of classes to tell apart.
        activation: Activation of the classifier, `None` for logits.
        dropout: Share of the features to drop before it while training.
        labels: Names of the classes in their order, as a data set's
            `class_names`, for predictions and exports; `None` if unknown.

    Returns:
        A `ResNeXtModel` from the same inputs to `(batch, classes)` in float32.

    Raises:
        ValueError: If the model ends in feature maps rather than features.

    Example:
    >>> model = keras_resnext.ResNeXt50(weights="imagenet")
    >>> model = keras_resnext.finetuning.replace_classifier(model, 10)
    """
    features = model.output
    if model.layers[-1].name == "predictions":
        features = model.layers[-1].input
        if isinstance(model.layers[-2], keras.layers.Dropout):
            features = model.layers[-2].input
    if len(features.shape) != 2:
        raise ValueError(
            f"'{model.name}' puts out feature maps of shape {features.shape}. "
            "Build it with pooling='avg', or with include_top=True."
        )
    x = features
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    outputs = classifier(x, classes, activation, labels)
    return ResNeXtModel(model.input, outputs, name=model.name)


def reestimate_batch_norm(
    model: keras.Model,
    data: Any,
    steps: int | None = None,
    batch_size: int | None = None,
    verbose: str | int = "auto",
) -> None:
    """Gathers the statistics of batch normalization anew, from data.

    Moving statistics follow the last few hundred steps of training. After
    few steps, or after weights were averaged or came from other pictures,
    those of a whole data set fit better ("precise BN", Wu & Johnson, 2021,
    https://arxiv.org/abs/2105.07576, section 3). Each layer's mean and
    variance become the averages over all batches, each normalized by its
    own. Weights stay as they are, and so do the statistics of frozen layers.

    Args:
        model: A model built here.
        data: What `model.predict` takes: an array of images, a
            `tf.data.Dataset`, a `PyDataset`, with or without labels.
        steps: Number of batches to use; `None` for all. Some 100 batches of
            32 suffice.
        batch_size: Images per batch if `data` is an array.
        verbose: `"auto"` or 1 for a progress bar, 0 for silence.

    Raises:
        ValueError: If the model has no batch normalization to change.

    Example:
    >>> keras_resnext.finetuning.reestimate_batch_norm(model, train_images)
    """
    layers = [
        layer
        for layer in model._flatten_layers()  # within other layers, too
        if isinstance(layer, keras.layers.BatchNormalization)
        and layer.trainable
    ]
    if not layers:
        raise ValueError(
            f"'{model.name}' has no batch normalization that is not frozen. "
            "Call keras_resnext.finetuning.freeze(model, None) first."
        )
    images = keras.Input(model.input_shape[1:])
    count = ops.sum(ops.ones_like(images[:, 0, 0, 0]))
    watcher = keras.Model(
        images,
        [ops.reshape(count, (1, 1)), *_OwnStatistics(model, layers)(images)],
    )
    before = model.get_weights()
    momenta = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.momentum = 0.0
        counts, *gathered = watcher.predict(
            data, batch_size=batch_size, steps=steps, verbose=verbose
        )
    finally:
        model.set_weights(before)
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    for layer, values in zip(layers, gathered, strict=True):
        mean, variance = np.average(values, axis=0, weights=counts[:, 0])
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)


class _OwnStatistics(keras.layers.Layer):
    """Calls a model in training mode and tells what each layer gathered.

    That is the statistics of one batch, as their momentum is zero: for each
    layer `(1, 2, channels)`, mean and variance. In a layer, as a Functional
    model within another follows the mode of the whole, which predicts.
    """

    def __init__(
        self, model: keras.Model, layers: list[keras.layers.Layer]
    ) -> None:
        super().__init__()
        self.model = model
        self.batch_norms = layers

    def call(self, inputs: Tensor) -> list[Tensor]:
        self.model(inputs, training=True)
        pairs = [
            [ops.cast(v, "float32") for v in layer.non_trainable_variables]
            for layer in self.batch_norms
        ]
        return [ops.expand_dims(ops.stack(pair), 0) for pair in pairs]

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> list[tuple[int, ...]]:
        return [(1, 2, *layer.moving_mean.shape) for layer in self.batch_norms]
