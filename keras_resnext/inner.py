"""The graph of any Keras model, with nested models opened.

Most Keras models around a ResNeXt are not built here but contain a model that
is: after augmentation and preprocessing, before another head, as a layer or
flat, in a Functional or Sequential model. `Graph` represents all of them alike.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any

import keras

from keras_resnext.kernels.generic import Tensor
from keras_resnext.layers import Conv2D

# Layers and operations of Keras that may follow a classifier's last Dense.
_ACTIVATIONS = {
    "Activation",
    "Cast",
    "Identity",
    "LogSoftmax",
    "Sigmoid",
    "Softmax",
}
# The first convolution, whose name identifies a model built here.
STEM = "stem_conv1"


@dataclass(frozen=True, eq=False)
class Value:
    """Symbolic tensor between two steps of a graph.

    Args:
        spec: Its shape and dtype in the model that contains the step.
    """

    spec: keras.KerasTensor

    @property
    def shape(self) -> tuple[int | None, ...]:
        return tuple(self.spec.shape)


@dataclass(frozen=True, eq=False)
class Step:
    """Call of a layer.

    Args:
        layer: The layer, or another operation of Keras.
        args: Its positional arguments, with a `Value` for each tensor.
        kwargs: Its keyword arguments, likewise.
        outputs: The values that it returns, as a flat list.
    """

    layer: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: list[Value]
    inputs: list[Value] = field(init=False)

    def __post_init__(self) -> None:
        flat = keras.tree.flatten((self.args, self.kwargs))
        values = [each for each in flat if isinstance(each, Value)]
        object.__setattr__(self, "inputs", values)


class Graph:
    """Calls of a model's layers, in the order of computation.

    Nested Functional and Sequential models are opened, at any depth; other
    layers that contain layers are single steps.

    Args:
        model: A built Functional or Sequential model.

    Attributes:
        steps: The calls, each a `Step`.
        input: Structure of `Value` that the model takes.
        output: Structure of `Value` that the model returns.

    Raises:
        ValueError: If Keras does not know the model's graph.
    """

    def __init__(self, model: keras.Model) -> None:
        check_graph(model)
        self.model = model
        self.steps: list[Step] = []
        function = _function(model)
        self.input = keras.tree.map_structure(Value, function.input)
        # Tensors of the model itself, without those of nested models.
        self._tensors = {value: value.spec for value in self.inputs}
        self.output = self._open(function, self.inputs, None, self._tensors)
        self._sources = {
            value: step for step in self.steps for value in step.outputs
        }

    @property
    def inputs(self) -> list[Value]:
        """Flat list of the values that the model takes."""
        return keras.tree.flatten(self.input)

    @property
    def outputs(self) -> list[Value]:
        """Flat list of the values that the model returns."""
        return keras.tree.flatten(self.output)

    def find(self, name: str) -> Step | None:
        """Return the only call of the layer of a name.

        Raises:
            ValueError: If layers of that name are called several times.
        """
        found = [step for step in self.steps if step.layer.name == name]
        if len(found) > 1:
            raise ValueError(
                f"'{self.model.name}' calls layers named '{name}' "
                f"{len(found)} times. Use a model that calls the model "
                "built by keras_resnext once."
            )
        return found[0] if found else None

    def source(self, value: Value) -> Step | None:
        """Return the step that computes a value; `None` for an input."""
        return self._sources.get(value)

    def before_activations(self, value: Value) -> Value:
        """Return the value before a model's final activations."""
        step = self.source(value)
        while step and type(step.layer).__name__ in _ACTIVATIONS:
            (value,) = step.inputs
            step = self.source(value)
        return value

    def before(self, values: Iterable[Value]) -> list[Step]:
        """Return the steps that compute values, in order."""
        return self._between((), values)

    def behind(self, value: Value) -> list[Step]:
        """Return the steps that depend on a value, in order."""
        changed = {value}
        steps = []
        for step in self.steps:
            if not changed.isdisjoint(step.inputs):
                changed.update(step.outputs)
                steps.append(step)
        return steps

    def beside(self, cut: Value, wanted: Iterable[Value]) -> list[Value]:
        """Return the values besides `cut` that steps after `cut` need.

        `run` computes `wanted` from `cut` and these.
        """
        behind = {cut, *(x for step in self.behind(cut) for x in step.outputs)}
        needed = dict.fromkeys(wanted)
        for step in self._between([cut], needed):
            if behind.intersection(step.outputs):
                needed.update(dict.fromkeys(step.inputs))
        return [value for value in needed if value not in behind]

    def run(
        self,
        given: Mapping[Value, Tensor],
        wanted: Any,
        training: bool | None = None,
        spec: bool = False,
    ) -> Any:
        """Compute values from others, skipping steps that are not needed.

        Args:
            given: Tensors, symbolic or not, for values.
            wanted: Structure of `Value`.
            training: Mode of every layer; `None` for the mode in which the
                model calls it.
            spec: Whether to compute only shapes and dtypes, of symbolic
                tensors, without side effects in the layers.

        Returns:
            Tensors in the structure of `wanted`.
        """
        known = dict(given)

        def filled(x: Any) -> Any:
            return known[x] if isinstance(x, Value) else x

        for step in self._between(known, keras.tree.flatten(wanted)):
            args, kwargs = keras.tree.map_structure(
                filled, (step.args, step.kwargs)
            )
            kwargs = _in_mode(step.layer, kwargs, training)
            call = step.layer.compute_output_spec if spec else step.layer
            returned = keras.tree.flatten(call(*args, **kwargs))
            known.update(zip(step.outputs, returned, strict=True))
        return keras.tree.map_structure(filled, wanted)

    def model_of(self, wanted: Any, name: str) -> keras.Model:
        """Build a model of the same layers, from the same inputs to values."""
        inputs, outputs = self.tensors(wanted)
        return keras.Model(inputs, outputs, name=name)

    def tensors(self, wanted: Any) -> tuple[Any, Any]:
        """Return symbolic tensors from which `keras.Model` builds a model.

        Nested models are opened only if `wanted` contains their values.

        Args:
            wanted: Structure of `Value`.

        Returns:
            The structure of inputs, and tensors in that of `wanted`.
        """
        own, function = self._tensors, _function(self.model)
        if all(value in own for value in keras.tree.flatten(wanted)):
            outputs = keras.tree.map_structure(lambda x: own[x], wanted)
            return function.input, outputs
        inputs = keras.tree.map_structure(same_input, function.input)
        given = zip(self.inputs, keras.tree.flatten(inputs), strict=True)
        return inputs, self.run(dict(given), wanted)

    def _between(
        self, given: Iterable[Value], wanted: Iterable[Value]
    ) -> list[Step]:
        """Return the steps that compute `wanted`, up to `given`."""
        given, needed = set(given), set(wanted)
        steps = []
        for step in reversed(self.steps):
            if not needed.isdisjoint(set(step.outputs) - given):
                needed.update(step.inputs)
                steps.append(step)
        return steps[::-1]

    def _open(
        self,
        model: keras.Model,
        inputs: list[Value],
        training: bool | None,
        tensors: dict[Value, keras.KerasTensor],
    ) -> Any:
        """Append the steps and tensors of a model; return its output."""
        known = dict(zip(map(id, model.inputs), inputs, strict=True))

        def value(x: Any) -> Any:
            return known[id(x)] if isinstance(x, keras.KerasTensor) else x

        for node in nodes(model):
            if node.is_input or any(
                id(x) not in known for x in node.input_tensors
            ):
                continue
            layer = node.operation
            args, kwargs = node.arguments.convert(value)
            kwargs = _in_mode(layer, kwargs, training)
            if is_graph(layer):
                function = _function(layer)
                taken = _taken(function, *args, **kwargs)
                mode = kwargs.get("training")
                returned = self._open(function, taken, mode, {})
                returned = keras.tree.flatten(returned)
            else:
                returned = [Value(x) for x in node.outputs]
                self.steps.append(Step(layer, args, kwargs, returned))
            known.update(zip(map(id, node.outputs), returned, strict=True))
            for found, x in zip(returned, node.outputs, strict=True):
                tensors.setdefault(found, x)
        return keras.tree.map_structure(value, model.output)


def graph_of_ours(model: Any) -> Graph:
    """Open a model that was built here or contains such a model.

    Raises:
        ValueError: If it is not such a model, or its graph is unknown.
    """
    graph = Graph(model)
    if any(isinstance(step.layer, Conv2D) for step in graph.steps):
        return graph
    for step in graph.steps:
        if isinstance(step.layer, keras.layers.Layer):
            for inner in inner_models(step.layer):
                raise ValueError(
                    f"'{model.name}' calls '{inner.name}' within the layer "
                    f"'{step.layer.name}', whose graph is unknown to Keras. "
                    f"Use '{inner.name}' itself."
                )
    raise ValueError(
        f"'{model.name}' must be a model built by keras_resnext, or a "
        "Functional or Sequential model that contains one."
    )


def is_graph(layer: Any) -> bool:
    """Return whether a layer is a model whose graph Keras knows."""
    return (
        isinstance(layer, keras.Model)
        and hasattr(_function(layer), "operations")
        # A subclass may compute something else than its graph.
        and type(layer).call.__module__.partition(".")[0] == "keras"
    )


def check_graph(model: Any) -> None:
    """Check that a model is built and its graph known to Keras.

    Raises:
        ValueError: If not.
    """
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"Expected a keras.Model. Received: {type(model).__name__}."
        )
    if is_graph(model):
        return
    if not model.built or isinstance(model, keras.Sequential):
        raise ValueError(
            f"'{model.name}' is not built. Call it on images once, or give it "
            "an input shape."
        )
    names = [inner.name for inner in inner_models(model)]
    which = f"'{names[0]}'" if names else "a model"
    raise ValueError(
        f"'{model.name}' is a subclassed model, whose graph Keras does not "
        f"know. Use {which} built by keras_resnext, or a Functional or "
        "Sequential model that contains it."
    )


def inner_models(model: Any) -> list[keras.Model]:
    """Find the models built here in any model, including itself.

    Args:
        model: Any `keras.Model` or layer: flat, nested, Sequential,
            subclassed with such a model as an attribute, wrapped.

    Returns:
        The models whose layers include those of a ResNeXt; a model built on
        such layers, such as another head on a backbone's output, is one too.
    """
    return [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.Model)
        and any(child.name == STEM for child in layer.layers)
    ]


def graphs_within(layer: Any) -> list[keras.Model]:
    """Return the outermost graphs in a layer that contain a model built here.

    This is the layer itself if it is a Functional or Sequential model, else
    the graphs that a subclassed model contains.
    """
    if not inner_models(layer):
        return []
    if is_graph(layer):
        return [layer]
    return [model for part in layer._layers for model in graphs_within(part)]


def own_variables(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Return a layer's weights without those of nested layers."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def nodes(model: keras.Model) -> list[Any]:
    """Return the calls of a graph's layers, in the order of `model.layers`."""
    order = {id(layer): i for i, layer in enumerate(model.operations)}
    depths = sorted(model._nodes_by_depth, reverse=True)
    return [
        node
        for depth in depths
        for node in sorted(
            model._nodes_by_depth[depth], key=lambda x: order[id(x.operation)]
        )
    ]


def same_input(tensor: Tensor) -> Tensor:
    """Return a new input of a graph, with the same configuration."""
    layer = tensor._keras_history.operation
    return keras.layers.InputLayer.from_config(layer.get_config()).output


def _function(model: keras.Model) -> Any:
    """Return the Functional model inside a Sequential model, or the model."""
    return getattr(model, "_functional", model)


def _taken(function: keras.Model, inputs: Any, **kwargs: Any) -> list[Value]:
    """Return a call's inputs, in the order of the model's inputs."""
    if isinstance(inputs, dict) and not isinstance(function.input, dict):
        return [inputs[each.name] for each in function.inputs]
    return keras.tree.flatten(inputs)


def _in_mode(
    layer: Any, kwargs: dict[str, Any], training: bool | None
) -> dict[str, Any]:
    """Return the arguments of a call, with a mode if the layer takes one."""
    if training is None or not getattr(layer, "_call_has_training_arg", False):
        return kwargs
    return {**kwargs, "training": training}
