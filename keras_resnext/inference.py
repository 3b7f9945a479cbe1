"""Models for inference only, with batch normalization folded."""

from collections import Counter
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_resnext.inner import graph_of_ours
from keras_resnext.inner import is_graph
from keras_resnext.inner import nodes
from keras_resnext.inner import own_variables
from keras_resnext.inner import same_input
from keras_resnext.kernels.generic import Tensor
from keras_resnext.layers import BatchNormalization
from keras_resnext.layers import BilinearAttention
from keras_resnext.layers import Conv2D
from keras_resnext.layers import SelectiveKernel
from keras_resnext.layers import StochasticDepth
from keras_resnext.layers.folding import fold
from keras_resnext.resnext_model import ResNeXtModel

DTYPES = ("bfloat16", "float16", "float32")

# The identity in inference, except for a change of dtype. Subclasses may
# compute something else.
_IDLE = {
    StochasticDepth,
    keras.layers.ActivityRegularization,
    keras.layers.AlphaDropout,
    keras.layers.AugMix,
    keras.layers.CutMix,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.MixUp,
    keras.layers.RandAugment,
    keras.layers.RandomBrightness,
    keras.layers.RandomColorDegeneration,
    keras.layers.RandomColorJitter,
    keras.layers.RandomContrast,
    keras.layers.RandomElasticTransform,
    keras.layers.RandomErasing,
    keras.layers.RandomFlip,
    keras.layers.RandomGaussianBlur,
    keras.layers.RandomGrayscale,
    keras.layers.RandomHue,
    keras.layers.RandomInvert,
    keras.layers.RandomPerspective,
    keras.layers.RandomPosterization,
    keras.layers.RandomRotation,
    keras.layers.RandomSaturation,
    keras.layers.RandomSharpness,
    keras.layers.RandomShear,
    keras.layers.RandomTranslation,
    keras.layers.RandomZoom,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
}
# Other subclasses of Keras' layers may compute something else.
_CONVS = (Conv2D, keras.layers.Conv2D)
_NORMS = (BatchNormalization, keras.layers.BatchNormalization)
_ATTENTIONS = (BilinearAttention, SelectiveKernel)
_CHANNEL_AXIS = {"channels_first": 1, "channels_last": 3}


def optimize_for_inference(
    model: keras.Model, dtype: str | None = None
) -> keras.Model:
    """Build a model that predicts the same, faster.

    In inference, batch normalization is a scale and an offset for each
    channel. They are folded into the preceding convolution (Jacob et al.,
    2018, https://arxiv.org/abs/1712.05877, section 3.2), along with the
    following activation, so that a framework computes all three at once.
    Dropout, stochastic depth, noise and random augmentation, which only act in
    training, are removed, and LoRA is merged into the kernels. Nested models
    are treated likewise. The original model is unchanged, and shares with the
    new one the weights of unchanged layers, such as quantized ones.

    Args:
        model: A model built here, or a Functional or Sequential model that
            contains one.
        dtype: `"bfloat16"` or `"float16"` for weights and computation from the
            first convolution to the last feature map; layers before and after
            them, such as the classifier, use float32. `"float32"` for the
            whole model, outputs included. `None` keeps the model's dtypes.

    Returns:
        A `keras.Model` of the same inputs and outputs, not compiled.

    Raises:
        ValueError: If the model does not contain one built here or is not
            built, if a weight is NaN or infinite or becomes so in `dtype`, or
            if there is no such `dtype`.

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
    _check_finite(model, "Load weights that are finite")
    with np.errstate(over="ignore"):  # refused by the second check
        made = _Optimizer(model, dtype).optimized()
    _check_finite(made, "Use a `dtype` of a larger range")
    return made


def check_ours(model: Any) -> None:
    """Check that a model was built here or contains such a model.

    Raises:
        ValueError: If not, or if the model is not built.
    """
    graph_of_ours(model)


class _Optimizer:
    """Pass over the graph of a model."""

    def __init__(self, model: keras.Model, dtype: str | None) -> None:
        self.model = model
        self.dtype = dtype
        # Neither Sequential nor compiled, unlike a clone.
        single = isinstance(model, keras.Sequential)
        self.graph = ResNeXtModel(
            model.inputs[0] if single else model.input,
            model.outputs[0] if single else model.output,
            name=model.name,
        )
        calls = nodes(self.graph)
        self.norms = _normalized(self.graph, calls)
        self.folded = {id(norm) for norm in self.norms.values()}
        self.body = _body(calls)

    def optimized(self) -> keras.Model:
        made = keras.models.clone_model(
            self.graph,
            keras.tree.map_structure(same_input, self.graph.input),
            clone_function=self._layer,
            call_function=self._call,
        )
        # Outputs keep their dtype, such as float32 features.
        if self.dtype not in (None, "float32"):
            outputs = keras.tree.map_structure(
                _as_before, made.output, self.graph.output
            )
            made = ResNeXtModel(made.input, outputs, name=made.name)
        return made

    def _layer(self, layer: Any) -> Any:
        """Return the replacement of a layer."""
        if self._passes(layer) or not isinstance(layer, keras.layers.Layer):
            return layer
        if is_graph(layer):
            return _Optimizer(layer, self.dtype).optimized()
        if not _is_known(layer) or getattr(layer, "quantization_mode", None):
            return layer
        changes = {}
        if self.dtype is not None:
            dtype = self._dtype_of(layer)
            if layer.dtype_policy.name != dtype:
                changes["dtype"] = dtype
        if isinstance(layer, _ATTENTIONS) and layer.normalize:
            return layer.folded(**changes)
        if id(layer) in self.norms:
            return _folded(layer, self.norms[id(layer)], **changes)
        adapted = getattr(layer, "lora_enabled", False)
        if layer.weights and not changes and not adapted:
            return layer
        return _copy(layer, **changes)

    def _call(self, layer: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if id(layer) in self.folded:
            return x
        if not self._passes(layer) or not isinstance(x, keras.KerasTensor):
            return layer(x, *args, **kwargs)
        dtype = self._dtype_of(layer)
        return x if x.dtype == dtype else ops.cast(x, dtype)

    def _passes(self, layer: Any) -> bool:
        """Return whether a layer is reduced to a change of dtype."""
        if isinstance(layer, keras.layers.Pipeline):
            return all(self._passes(each) for each in layer.layers)
        return id(layer) in self.folded or type(layer) in _IDLE

    def _dtype_of(self, layer: Any) -> str:
        """Return the dtype that a layer is to compute in."""
        if self.dtype is not None:
            return self.dtype if id(layer) in self.body else "float32"
        if isinstance(layer, keras.layers.Pipeline):
            return layer.layers[-1].compute_dtype
        return layer.compute_dtype


def _normalized(
    graph: keras.Model, calls: list[Any]
) -> dict[int, keras.layers.BatchNormalization]:
    """Return the batch normalization of convolutions, by their `id`.

    It must be the only layer that reads the convolution's output.
    """
    counts = Counter(id(node.operation) for node in calls)
    readers = Counter(id(x) for node in calls for x in node.input_tensors)
    readers.update(map(id, keras.tree.flatten(graph.output)))
    found = {}
    for node in calls:
        norm = node.operation
        if type(norm) not in _NORMS:
            continue
        (before,) = node.parent_nodes
        conv = before.operation
        if (
            type(conv) in _CONVS
            and conv.activation is keras.activations.linear
            and norm.axis % 4 == _CHANNEL_AXIS[conv.data_format]
            and counts[id(conv)] == counts[id(norm)] == 1
            and readers[id(before.outputs[0])] == 1
        ):
            found[id(conv)] = norm
    return found


def _body(calls: list[Any]) -> set[int]:
    """Return the `id` of layers from the first convolution to the maps."""
    maps: set[int] = set()
    body: set[int] = set()
    for node in calls:
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
    """Return a convolution that includes the batch normalization."""
    activation = getattr(norm, "activation", keras.activations.linear)
    made = _built(
        conv,
        use_bias=True,
        activation=keras.activations.serialize(activation),
        **changes,
    )
    made.set_weights(fold(conv, norm))
    return made


def _copy(layer: keras.layers.Layer, **changes: Any) -> keras.layers.Layer:
    """Copy a layer and its weights, with changed arguments."""
    made = _built(layer, **changes)
    if not layer.weights:
        return made
    if layer._layers:
        made.set_weights(layer.get_weights())
        return made
    # As to and from a file: LoRA is merged, derived variables are restored.
    store: dict[str, Any] = {}
    layer.save_own_variables(store)
    made.load_own_variables(store)
    return made


def _built(layer: keras.layers.Layer, **changes: Any) -> Any:
    """Build a layer with changed arguments and without LoRA."""
    config = {**layer.get_config(), **changes}
    for name in ("lora_rank", "lora_alpha"):
        config.pop(name, None)
    made = type(layer).from_config(config)
    if layer.weights:
        made.build_from_config(layer.get_build_config())
    return made


def _is_known(layer: keras.layers.Layer) -> bool:
    """Return whether a layer can be rebuilt from its configuration."""
    package = type(layer).__module__.partition(".")[0]
    return package in ("keras", "keras_resnext") and not isinstance(
        layer, keras.layers.Lambda
    )


def _as_before(new: Tensor, old: Tensor) -> Tensor:
    """Return a tensor in its original dtype."""
    return new if new.dtype == old.dtype else ops.cast(new, old.dtype)


def _check_finite(model: keras.Model, advice: str) -> None:
    """Check that weights are finite, and variances not negative.

    Raises:
        ValueError: If not; the message names the layer.
    """
    for layer in model._flatten_layers():
        for variable in own_variables(layer):
            values = ops.convert_to_numpy(ops.cast(variable, "float32"))
            below = variable.name == "moving_variance" and values.min() < 0
            if below or not np.isfinite(values).all():
                what = "numbers below zero" if below else "NaN or infinity"
                raise ValueError(
                    f"The {variable.name} of '{layer.name}' contains {what}. "
                    f"{advice}."
                )
