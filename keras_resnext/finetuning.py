"""Transfer learning: freeze stages, reset the classifier, update statistics."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_resnext.blocks import Activation
from keras_resnext.blocks import classifier
from keras_resnext.checks import check_classes
from keras_resnext.checks import check_share
from keras_resnext.checks import check_type
from keras_resnext.features import BLOCKS
from keras_resnext.features import ends_of
from keras_resnext.features import last_steps
from keras_resnext.inner import Graph
from keras_resnext.inner import Value
from keras_resnext.inner import check_graph
from keras_resnext.inner import graph_of_ours
from keras_resnext.inner import graphs_within
from keras_resnext.inner import own_variables
from keras_resnext.kernels.generic import Tensor
from keras_resnext.resnext_model import ResNeXtModel


def freeze(model: keras.Model, up_to: str | None) -> None:
    """Freeze a model from its input up to and including a stage.

    Frozen layers keep their weights, and their batch normalization uses and
    keeps its moving statistics. Every other layer is unfrozen, including those
    of nested models, regardless of earlier calls. Kernels with LoRA stay
    frozen: their adapters train. Compile afterwards.

    Args:
        model: A model built here, or any model that contains one. In a
            subclassed model, whose graph is unknown to Keras, the layers
            around the model built here are unfrozen.
        up_to: `"stem"`, `"stage1"`, …; the name of any layer; or `None` to
            unfreeze everything.

    Raises:
        ValueError: If the model does not contain one built here, or has no
            such stage or layer; the message lists them.

    Example:
    >>> keras_resnext.finetuning.freeze(model, "stage3")
    >>> model.compile("sgd", "sparse_categorical_crossentropy")
    """
    check_type("model", model, keras.Model)
    check_type("up_to", up_to, str | None)
    frozen = [] if up_to is None else _layers_up_to(model, up_to)
    # Models too: a frozen one hides trainable layers in it. And each layer:
    # TensorFlow skips an attribute that already has the value.
    for layer in model._flatten_layers():
        layer.trainable = True
    for layer in model._flatten_layers():
        if getattr(layer, "lora_enabled", False):
            for variable in own_variables(layer):
                if variable.name in ("kernel", "embeddings"):
                    variable.trainable = False
    for layer in frozen:
        layer.trainable = False


def reset_classifier(
    model: keras.Model,
    classes: int,
    activation: Activation = "softmax",
    dropout: float = 0.0,
    labels: Sequence[str] | None = None,
) -> ResNeXtModel:
    """Give a model a new, randomly initialized classifier.

    A Dense layer at the end of the model, even one of your own, is replaced,
    together with the activation after it and the dropout before it. A model
    that ends in features gets a classifier on top.

    Args:
        model: A model built here with its top, or without it and with
            `pooling`; or a Functional or Sequential model that contains one.
            Its other layers are shared, not copied.
        classes: Number of classes to distinguish.
        activation: Activation of the classifier, `None` for logits.
        dropout: Dropout rate of the features before the classifier.
        labels: Names of the classes in their order, as a dataset's
            `class_names`, for predictions and exports; `None` if unknown.

    Returns:
        A `ResNeXtModel` from the same inputs to `(batch, classes)` in float32.

    Raises:
        ValueError: If the model ends in feature maps, in several outputs or
            in a layer with weights that is not a Dense layer, or `classes` is
            not positive.

    Example:
    >>> model = keras_resnext.ResNeXt50(weights="imagenet")
    >>> model = keras_resnext.finetuning.reset_classifier(model, 10)
    """
    check_classes(classes)
    check_share("dropout", dropout)
    graph = graph_of_ours(model)
    features = _features(graph)
    inputs, x = graph.tensors(features)
    if dropout:
        taken = {step.layer.name for step in graph.before([features])}
        name = "predictions_dropout" if "dropout" in taken else "dropout"
        x = keras.layers.Dropout(dropout, name=name)(x)
    outputs = classifier(x, classes, activation, labels)
    return ResNeXtModel(inputs, outputs, name=model.name)


def _layers_up_to(model: Any, name: str) -> list[keras.layers.Layer]:
    """Return the layers that compute the output of a stage or layer."""
    graphs = graphs_within(model)
    if not graphs:
        check_graph(model)
        graph_of_ours(model)
    if graphs != [model]:
        return [layer for each in graphs for layer in _layers_up_to(each, name)]
    graph = Graph(model)
    steps = [
        step
        for step in graph.steps
        if isinstance(step.layer, keras.layers.Layer)
    ]
    # Layers that contain a model built here in a graph of their own: all
    # layers before them are frozen, and a part of theirs.
    holders = [step for step in steps if graphs_within(step.layer)]
    if holders:
        border = [value for step in holders for value in step.inputs]
    else:
        ends = last_steps(graph, name)
        border = [value for step in ends for value in step.outputs]
    before = graph.before(border)
    return [step.layer for step in steps if step in before] + [
        layer for step in holders for layer in _layers_up_to(step.layer, name)
    ]


def _features(graph: Graph) -> Value:
    """Return the features that a model's classifier takes, or would take.

    Raises:
        ValueError: If the model has neither one classifier nor features.
    """
    name = graph.model.name
    if len(graph.outputs) > 1:
        raise ValueError(
            f"'{name}' must have one output to replace its classifier. It has "
            f"{len(graph.outputs)}; use a keras.Model that returns one of them."
        )
    (output,) = graph.outputs
    last = graph.before_activations(output)
    head = graph.source(last)
    if len(output.shape) != 2:
        raise ValueError(
            f"'{name}' returns feature maps of shape {output.shape}. "
            "Build it with pooling='avg', or with include_top=True."
        )
    if head and isinstance(head.layer, keras.layers.Dense):
        (features,) = head.inputs
        before = graph.source(features)
        if before and isinstance(before.layer, keras.layers.Dropout):
            (features,) = before.inputs
        return features
    *_, maps = ends_of(graph, BLOCKS).values()
    dense = [
        step.layer.name
        for step in graph.behind(maps)
        if any(len(w.shape) > 1 for w in getattr(step.layer, "weights", ()))
        and len(step.outputs[0].shape) == 2
    ]
    if dense or last is not output:
        end = graph.source(output)
        raise ValueError(
            f"'{name}' ends in '{end and end.layer.name}', neither in a Dense "
            "layer nor in features. Use a keras.Model that ends before its "
            "classifier."
        )
    return output


def update_batch_norm(
    model: keras.Model,
    data: Any,
    steps: int | None = None,
    batch_size: int | None = None,
    verbose: str | int = "auto",
) -> None:
    """Recompute the statistics of batch normalization from data.

    Moving statistics follow the last few hundred steps of training. After few
    steps, averaging of weights, or training on other images, those of a whole
    dataset fit better ("precise BN", Wu & Johnson, 2021,
    https://arxiv.org/abs/2105.07576, section 3). Each layer's mean and
    variance become the averages over all batches, each normalized by its own
    statistics. Weights and the statistics of frozen layers are unchanged.

    Args:
        model: A model built here.
        data: Inputs of `model.predict`: an array of images, a
            `tf.data.Dataset`, a `PyDataset`, with or without labels.
        steps: Number of batches to use; `None` for all. Some 100 batches of
            32 suffice.
        batch_size: Images per batch if `data` is an array.
        verbose: `"auto"` or 1 for a progress bar, 0 for silence.

    Raises:
        ValueError: If the model has no unfrozen batch normalization, or `data`
            has no images, or values that make statistics NaN. The model is
            then unchanged.

    Example:
    >>> keras_resnext.finetuning.update_batch_norm(model, images)
    """
    check_type("model", model, keras.Model)
    if data is None or (hasattr(data, "__len__") and not len(data)):
        raise ValueError("`data` has no images.")
    layers = [
        layer
        for layer in model._flatten_layers()  # including nested layers
        if isinstance(layer, keras.layers.BatchNormalization)
        and layer.trainable
    ]
    if not layers:
        raise ValueError(
            f"'{model.name}' has no unfrozen batch normalization. "
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
    if not all(np.isfinite(values).all() for values in gathered):
        raise ValueError("The statistics of `data` are NaN or infinite.")
    for layer, values in zip(layers, gathered, strict=True):
        mean, variance = np.average(values, axis=0, weights=counts[:, 0])
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)


class _OwnStatistics(keras.layers.Layer):
    """Model in training mode that returns the statistics of its layers.

    With a momentum of zero, these are the statistics of one batch: mean and
    variance of each layer, `(1, 2, channels)`. This is a layer because a
    nested Functional model would follow the mode of the whole, prediction.
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
