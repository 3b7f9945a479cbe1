"""Data configuration of any model that contains a ResNeXt."""

import contextlib
import copyreg
import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_resnext import labels as known_labels
from keras_resnext.data_config import DataConfig
from keras_resnext.inner import STEM
from keras_resnext.inner import Graph
from keras_resnext.inner import Value
from keras_resnext.inner import graph_of_ours
from keras_resnext.inner import inner_models
from keras_resnext.inner import nodes
from keras_resnext.kernels import kernels
from keras_resnext.layers import Classifier
from keras_resnext.weights.catalog import get_weights
from keras_resnext.weights.records import Weights

# Valid differences between white and black in the first convolution's input:
# 1 / std of pixels in [0, 1], so 3 to 5, or 1 if pixels are only rescaled.
_CONTRAST = (0.75, 24.0)


# Layers that may follow a classifier without changing its classes.
_ELEMENTWISE = (
    keras.layers.Activation,
    keras.layers.Identity,
    keras.layers.Softmax,
)


@keras.saving.register_keras_serializable(package="keras_resnext")
class ResNeXtModel(keras.Model):
    """Functional model of images, which all callables and `get_model` return.

    Its first convolution stores the preparation of images (`get_data_config`),
    its `Classifier` the labels, so saving, cloning and nesting preserve them.

    Example:
    >>> model = keras_resnext.ResNeXt50(weights=None)
    >>> model.save("model.keras")
    >>> type(keras.saving.load_model("model.keras")).__name__
    'ResNeXtModel'
    """

    def _run_through_graph(
        self,
        inputs: Any,
        operation_fn: Callable = lambda operation: operation,
        call_fn: Callable | None = None,
    ) -> Any:
        """Compute the graph, and free each tensor after its last use.

        Keras keeps all of them to the end: without a compiler, four times as
        much memory, which a prediction has to get anew.
        """
        if call_fn is not None or not kernels.frees_tensors():
            return super()._run_through_graph(inputs, operation_fn, call_fn)
        steps = [node for node in nodes(self) if not node.is_input]
        uses = Counter(id(x) for node in steps for x in node.input_tensors)
        uses.update(map(id, self.outputs))
        values = dict(
            zip(map(id, self.inputs), keras.tree.flatten(inputs), strict=True)
        )
        for node in steps:
            args, kwargs = node.arguments.fill_in(values)
            returned = operation_fn(node.operation)(*args, **kwargs)
            del args, kwargs
            flat = keras.tree.flatten(returned)
            values.update(zip(map(id, node.outputs), flat, strict=True))
            del returned, flat
            for x in node.input_tensors:
                uses[id(x)] -= 1
                if not uses[id(x)]:
                    del values[id(x)]
        outputs = [values[id(x)] for x in self.outputs]
        return keras.tree.pack_sequence_as(self.output, outputs)

    @property
    def weights_info(self) -> Weights | None:
        """Record of the published checkpoint that the model started from."""
        name = (_stem(self).data_config or DataConfig()).weights
        with contextlib.suppress(ValueError):  # from another catalog
            return get_weights(name or "")
        return None

    @weights_info.setter
    def weights_info(self, weights: Weights | None) -> None:
        config = weights and DataConfig.of_weights(weights)
        _stem(self).data_config = config


def get_data_config(model: keras.Model) -> DataConfig:
    """Return the preparation of a model's images, and its class names.

    The model's layers store both, through saving, pickling, cloning and
    nesting: its first convolution the preparation, its `Classifier` the names.
    With random weights, or weights of a file without this information, the
    preparation is that of `preprocess_input`.

    Preprocessing inside a model (`Rescaling`, `Normalization`,
    `preprocess_input`) is measured and excluded: `mean` and `std` describe the
    input of the whole *model*. For a model that takes pixels in [0, 255] they
    are 0 and 1 / 255.

    Args:
        model: A model built here, or one that contains such a model.

    Returns:
        A `DataConfig`.

    Raises:
        ValueError: If the model contains no model that was built here, changes
            its images by unknown preprocessing, or has a graph unknown to
            Keras, as subclassed models have.

    Example:
    >>> model = keras_resnext.ResNeXt23s_4x32d(weights="cifar10", classes=10)
    >>> keras_resnext.get_data_config(model).labels[:2]
    ('airplane', 'automobile')
    """
    config = stored_config(model) or DataConfig()
    scale = _scale_of_inputs(graph_of_ours(model), config)
    if scale is not None:
        config = dataclasses.replace(
            config, mean=(0.0, 0.0, 0.0), std=(1 / scale,) * 3
        )
    return dataclasses.replace(config, labels=class_names(model))


def set_data_config(model: keras.Model, **changes: Any) -> DataConfig:
    """Change the data configuration that a model stores.

    Args:
        model: A model built here, or one that contains such a model.
        **changes: Fields of `DataConfig`. `mean` and `std` describe the input
            of the first convolution. `labels` needs a model that ends in a
            `keras_resnext.layers.Classifier`, as all models built here do.

    Returns:
        The new `DataConfig`.

    Raises:
        ValueError: If a field is unknown or out of range, or the model can't
            store labels, or has another number of classes.

    Example:
    >>> model = keras_resnext.ResNeXt50(weights=None, classes=2)
    >>> keras_resnext.set_data_config(
    ...     model, size=160, labels=["cat", "dog"]
    ... ).labels
    ('cat', 'dog')
    """
    fields = [field.name for field in dataclasses.fields(DataConfig)]
    if unknown := sorted(set(changes) - set(fields)):
        raise ValueError(
            f"A DataConfig has no field {unknown[0]!r}. Fields: "
            f"{', '.join(fields)}"
        )
    stem = _stem(model)
    graph = graph_of_ours(model)
    if "labels" in changes:
        head = _head(graph)
        if head is None:
            raise ValueError(
                f"'{model.name}' can't store labels. End it in a "
                "keras_resnext.layers.Classifier instead of a Dense layer, or "
                "use keras_resnext.finetuning.reset_classifier."
            )
        head.labels = changes.pop("labels")
    if changes:
        before = stem.data_config or DataConfig()
        stem.data_config = dataclasses.replace(before, **changes)
    return get_data_config(model)


def image_shape(model: keras.Model) -> tuple[int, int | None]:
    """Return the number of channels of a model's images, and their size.

    Returns:
        Channels, and height and width in pixels, `None` for any.

    Raises:
        ValueError: If the model does not take square images as one input.
    """
    shapes = [x.shape[1:] for x in model.inputs if len(x.shape) == 4]
    first = _stem(model).data_format == "channels_first"
    if len(shapes) == 1:
        (shape,) = shapes
        channels, *sizes = shape if first else (shape[2], *shape[:2])
        if sizes[0] == sizes[1]:
            return channels, sizes[0]
    raise ValueError(
        f"'{model.name}' takes {shapes or 'no images'}; the evaluation "
        "transform needs square images as the only input."
    )


def stored_config(model: keras.Model) -> DataConfig | None:
    """Return the configuration in a model's first convolution, if any."""
    return _stem(model).data_config


def _stem(model: keras.Model) -> keras.layers.Layer:
    """Return the first convolution of the model built here."""
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"`model` must be a keras.Model. Received: {type(model).__name__}"
        )
    stems = {
        id(layer): layer
        for inner in inner_models(model)
        for layer in inner.layers
        if layer.name == STEM and hasattr(layer, "data_config")
    }
    if not stems:
        raise ValueError(
            f"'{model.name}' contains no model that keras_resnext built."
        )
    if len({stem.data_config for stem in stems.values()}) > 1:
        raise ValueError(
            f"'{model.name}' contains {len(stems)} models whose images are "
            "prepared in different ways."
        )
    return next(iter(stems.values()))


def class_names(model: keras.Model) -> tuple[str, ...] | None:
    """Return the names of a model's classes, `None` if unknown.

    Raises:
        ValueError: If the model contains no model that was built here, or
            Keras does not know its graph.
    """
    _stem(model)
    graph = Graph(model)
    head = _head(graph)
    if head is not None and head.labels is not None:
        return head.labels
    shapes = [output.shape for output in graph.outputs]
    classes = shapes[0][1] if list(map(len, shapes)) == [2] else None
    named = known_labels.known(None, classes)
    return None if named is None else tuple(named)


def _head(graph: Graph) -> Classifier | None:
    """Return the layer that names the classes of a model's only output."""
    values = graph.outputs
    while len(values) == 1 and (step := graph.source(values[0])):
        if isinstance(step.layer, Classifier):
            return step.layer
        values = step.inputs if isinstance(step.layer, _ELEMENTWISE) else []
    return None


def _scale_of_inputs(graph: Graph, config: DataConfig) -> float | None:
    """Return the highest pixel, 255 or 1, of a model that normalizes pixels.

    Returns:
        `None` if the first convolution takes the model's input unchanged.

    Raises:
        ValueError: If the layers before the first convolution are not known
            preprocessing.
    """
    starts = {step.inputs[0] for step in graph.steps if step.layer.name == STEM}
    scales = {_scale_before(graph, start, config) for start in starts}
    if len(scales) != 1:
        raise _unknown_preprocessing(graph)
    return scales.pop()


def _scale_before(
    graph: Graph, start: Value, config: DataConfig
) -> float | None:
    """Return the highest pixel for a call of the first convolution."""
    if start in graph.inputs:
        return None
    dark, middle, bright = _response(graph, start, config)
    slope = bright - dark
    error = abs(2 * middle - dark - bright)
    if (error <= 1e-3 * abs(slope)).all():
        if np.allclose([dark, bright], [[0.0], [1.0]], atol=1e-3):
            return None
        least, most = _CONTRAST
        for scale in (1.0, 255.0):
            if least <= (slope * scale).min() <= most:
                return scale
    raise _unknown_preprocessing(graph)


def _unknown_preprocessing(graph: Graph) -> ValueError:
    return ValueError(
        f"'{graph.model.name}' changes its images before the first "
        "convolution, other than by a scale and an offset for pixels in "
        "[0, 255] or [0, 1]."
    )


def _response(graph: Graph, start: Value, config: DataConfig) -> np.ndarray:
    """Return the first convolution's input channels, for uniform images.

    Returns:
        Array of shape `(3, channels)`, for images of 0, 0.5 and 1.
    """
    given = {}
    for value in graph.inputs:
        side = config.size or 64
        shape = [size or side for size in value.spec.shape[1:]]
        levels = np.reshape([0.0, 0.5, 1.0], (3, *(1 for _ in shape)))
        x = np.broadcast_to(levels, (3, *shape)).astype("float32")
        given[value] = keras.ops.convert_to_tensor(x)
    found = graph.run(given, start, training=False)
    found = np.asarray(keras.ops.convert_to_numpy(found), "float64")
    stem = next(s.layer for s in graph.steps if s.layer.name == STEM)
    axes = (2, 3) if stem.data_format == "channels_first" else (1, 2)
    # The median ignores a border of zeros.
    return np.median(found, axes)


# Keras pickles a model as a file, which can be opened in a process that has not
# imported this package only if the pickle imports it first.
def _reduce(model: keras.Model) -> tuple[Callable, tuple]:
    """Return the arguments that pickle a Functional or Sequential model."""
    opened = model.__reduce__()
    return (_open, opened) if inner_models(model) else opened


def _open(function: Callable, arguments: tuple) -> keras.Model:
    return function(*arguments)


_Functional = type(keras.Model.__new__(keras.Model, inputs=None, outputs=None))
for _class in (ResNeXtModel, _Functional, keras.Sequential):
    copyreg.pickle(_class, _reduce)
