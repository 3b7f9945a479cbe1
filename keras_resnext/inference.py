"""A network for use, not for training: batch normalization folded away."""

from collections import Counter
from typing import Any

import keras
from keras import ops

from keras_resnext.kernels.generic import Tensor
from keras_resnext.layers import BilinearAttention
from keras_resnext.layers import Conv2D
from keras_resnext.layers import SelectiveKernel
from keras_resnext.layers import StochasticDepth
from keras_resnext.layers.folding import fold
from keras_resnext.resnext_model import ResNeXtModel

DTYPES = ("bfloat16", "float16", "float32")

# What does nothing in inference.
_IDLE = (
    keras.layers.Dropout,
    keras.layers.SpatialDropout2D,
    StochasticDepth,
)
_ATTENTIONS = (BilinearAttention, SelectiveKernel)
_CHANNEL_AXIS = {"channels_first": 1, "channels_last": 3}


def optimize_for_inference(
    model: keras.Model, dtype: str | None = None
) -> keras.Model:
    """Makes a network that predicts the same, faster.

    In inference batch normalization is a scale and an offset for each
    channel. They are folded into the convolution before it (Jacob et al.,
    2018, https://arxiv.org/abs/1712.05877, section 3.2), along with the
    activation after it, so that a framework computes all three at once.
    Dropout and stochastic depth, which only training knows, are left out. The
    model stays as it is, and shares with the new one those weights that both
    have alike.

    Args:
        model: A model built here, or one that contains such a model.
        dtype: `"bfloat16"` or `"float16"` to compute in, from the first
            convolution to the last feature map, with weights of that dtype.
            What comes before and after the maps, such as the classifier,
            computes in float32. `None` keeps the model's own.

    Returns:
        A `keras.Model` of the same inputs and outputs, not compiled.

    Raises:
        ValueError: If the model is not one of ours or not built, or if there
            is no such `dtype`.

    Example:
    >>> model = keras_resnext.ResNeXt50(weights="imagenet")
    >>> fast = keras_resnext.optimize_for_inference(model, "bfloat16")
    >>> probabilities = fast.predict(images)
    """
    if dtype not in (None, *DTYPES):
        raise ValueError(
            f"`dtype` must be None or one of {', '.join(DTYPES)}. "
            f"Received: {dtype!r}"
        )
    check_ours(model)
    return _Optimizer(model, dtype).optimized()


def check_ours(model: Any) -> None:
    """Refuses what is no model of this package, or holds none.

    Raises:
        ValueError: If so, or if the model is not built.
    """
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"This is no keras.Model but a {type(model).__name__}."
        )
    if not model.built:
        raise ValueError(
            f"'{model.name}' is not built. Call it on images once, or give it "
            "an input shape."
        )
    if not _is_graph(model) or not _holds_ours(model):
        raise ValueError(
            f"'{model.name}' must be a model that keras_resnext built, or a "
            "Functional or Sequential model that holds one."
        )


def _is_graph(layer: Any) -> bool:
    return isinstance(layer, keras.Sequential) or (
        isinstance(layer, keras.Model) and hasattr(layer, "operations")
    )


def _holds_ours(model: keras.Model) -> bool:
    return any(
        isinstance(layer, Conv2D) or (_is_graph(layer) and _holds_ours(layer))
        for layer in model.layers
    )


class _Optimizer:
    """One pass over the graph of a model."""

    def __init__(self, model: keras.Model, dtype: str | None) -> None:
        self.model = model
        self.dtype = dtype
        # Neither Sequential nor compiled, both of which a clone would be.
        single = isinstance(model, keras.Sequential)
        self.graph = ResNeXtModel(
            model.inputs[0] if single else model.input,
            model.outputs[0] if single else model.output,
            name=model.name,
        )
        nodes = _nodes(self.graph)
        self.norms = _normalized(self.graph, nodes)
        self.folded = {id(norm) for norm in self.norms.values()}
        self.body = _body(nodes)

    def optimized(self) -> keras.Model:
        made = keras.models.clone_model(
            self.graph,
            keras.tree.map_structure(_same_input, self.graph.input),
            clone_function=self._layer,
            call_function=self._call,
        )
        if self.dtype is not None:
            outputs = keras.tree.map_structure(
                _as_before, made.output, self.graph.output
            )
            made = ResNeXtModel(made.input, outputs, name=made.name)
        return made

    def _layer(self, layer: Any) -> Any:
        """What stands in the place of a layer."""
        if self._passes(layer) or not isinstance(layer, keras.layers.Layer):
            return layer
        if _is_graph(layer) and _holds_ours(layer):
            return optimize_for_inference(layer, self.dtype)
        changes = {}
        if self.dtype is not None:
            dtype = self.dtype if id(layer) in self.body else "float32"
            if layer.dtype_policy.name != dtype:
                changes["dtype"] = dtype
        if isinstance(layer, _ATTENTIONS) and layer.normalize:
            return layer.folded(**changes)
        if id(layer) in self.norms:
            return _folded(layer, self.norms[id(layer)], **changes)
        if layer.weights and not changes:
            return layer
        return _copy(layer, **changes)

    def _call(self, layer: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return x if self._passes(layer) else layer(x, *args, **kwargs)

    def _passes(self, layer: Any) -> bool:
        """Whether nothing is left of a layer."""
        return id(layer) in self.folded or isinstance(layer, _IDLE)


def _nodes(graph: keras.Model) -> list[Any]:
    """The calls of a graph's layers, in the order in which they compute."""
    depths = sorted(graph._nodes_by_depth, reverse=True)
    return [node for depth in depths for node in graph._nodes_by_depth[depth]]


def _normalized(
    graph: keras.Model, nodes: list[Any]
) -> dict[int, keras.layers.BatchNormalization]:
    """The batch normalization of convolutions, by the latter's `id`.

    It is that which alone reads what the convolution puts out.
    """
    calls = Counter(id(node.operation) for node in nodes)
    readers = Counter(id(x) for node in nodes for x in node.input_tensors)
    readers.update(map(id, keras.tree.flatten(graph.output)))
    found = {}
    for node in nodes:
        norm = node.operation
        if not isinstance(norm, keras.layers.BatchNormalization):
            continue
        (before,) = node.parent_nodes
        conv = before.operation
        if (
            isinstance(conv, keras.layers.Conv2D)
            and conv.activation is keras.activations.linear
            and norm.axis % 4 == _CHANNEL_AXIS[conv.data_format]
            and calls[id(conv)] == calls[id(norm)] == 1
            and readers[id(before.outputs[0])] == 1
        ):
            found[id(conv)] = norm
    return found


def _body(nodes: list[Any]) -> set[int]:
    """The layers from the first convolution to the last maps, by `id`."""
    maps: set[int] = set()
    body: set[int] = set()
    for node in nodes:
        if len(node.outputs[0].shape) == 4 and (
            isinstance(node.operation, keras.layers.Conv2D)
            or any(id(x) in maps for x in node.input_tensors)
        ):
            maps.update(map(id, node.outputs))
            body.add(id(node.operation))
    return body


def _folded(
    conv: keras.layers.Conv2D,
    norm: keras.layers.BatchNormalization,
    **changes: Any,
) -> keras.layers.Conv2D:
    """A convolution that does the normalization's work, too."""
    activation = getattr(norm, "activation", keras.activations.linear)
    made = type(conv).from_config(
        {
            **conv.get_config(),
            "use_bias": True,
            "activation": keras.activations.serialize(activation),
            **changes,
        }
    )
    made.build_from_config(conv.get_build_config())
    made.set_weights(fold(conv, norm))
    return made


def _same_input(tensor: Tensor) -> Tensor:
    """Another input of a graph, of the same name."""
    layer = tensor._keras_history.operation
    return keras.layers.InputLayer.from_config(layer.get_config()).output


def _as_before(new: Tensor, old: Tensor) -> Tensor:
    """In the dtype that it had."""
    return new if new.dtype == old.dtype else ops.cast(new, old.dtype)


def _copy(layer: keras.layers.Layer, **changes: Any) -> keras.layers.Layer:
    """Another layer of the same weights, with other arguments."""
    made = type(layer).from_config({**layer.get_config(), **changes})
    if layer.weights:
        made.build_from_config(layer.get_build_config())
        made.set_weights(layer.get_weights())
    return made
