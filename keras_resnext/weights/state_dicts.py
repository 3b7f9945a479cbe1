"""Weights of a model as state dicts of timm and torchvision."""

import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_resnext.inner import Graph
from keras_resnext.inner import graph_of_ours
from keras_resnext.inner import own_variables
from keras_resnext.layers import Conv2D
from keras_resnext.weights import convert
from keras_resnext.weights.identify import HEAD
from keras_resnext.weights.identify import OUR_LAYERS
from keras_resnext.weights.identify import STEM
from keras_resnext.weights.layouts import LAYOUTS

TORCH_LAYOUTS = [name for name in LAYOUTS if name.startswith("timm_")]


def to_torch_state_dict(
    model: keras.Model, layout: str | None = None
) -> dict[str, Any]:
    """Convert a model's weights to a state dict for timm or torchvision.

    It contains all weights, or an error is raised. A Dense layer on the pooled
    features is the classifier, whatever its name; a missing bias becomes zero.
    LoRA is merged into the kernels.

    Args:
        model: A model built here, fine-tuned or not, with or without its top,
            or a Functional or Sequential model that contains one.
        layout: Layout of the names: `"timm_resnet"` (torchvision's too),
            `"timm_byob"`, `"timm_sk"`, `"timm_senet"` or `"timm_csp"`;
            `None` derives it from the model's structure.

    Returns:
        float32 tensors on the CPU. They load with `strict=True`; without the
        top, into a model with `num_classes=0`.

    Raises:
        ImportError: If PyTorch is not installed; `save_torch_checkpoint`
            doesn't need it.
        ValueError: If the layout is unknown or has no name for a layer, or if
            the model has weights that a state dict can't represent: of other
            layers, quantized or optimized for inference.

    Example:
    >>> state_dict = keras_resnext.to_torch_state_dict(model)
    >>> state_dict["fc.weight"].shape
    torch.Size([1000, 2048])
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "to_torch_state_dict returns tensors of PyTorch, which is not "
            "installed. Install torch, or use save_torch_checkpoint, which "
            "does not need it."
        ) from error
    return {
        name: torch.from_numpy(array)
        for name, array in state_dict(model, layout).items()
    }


def state_dict(model: keras.Model, layout: str | None) -> dict[str, np.ndarray]:
    """Return a model's weights by the names of a layout.

    The arguments are those of `to_torch_state_dict`.
    """
    if layout not in (None, *TORCH_LAYOUTS):
        raise ValueError(
            f"`layout` must be one of {', '.join(TORCH_LAYOUTS)}. "
            f"Received: {layout!r}"
        )
    graph = graph_of_ours(model)
    graph.find(STEM)  # refuses several calls
    layers = {
        step.layer.name: step.layer
        for step in graph.steps
        if re.fullmatch(OUR_LAYERS, step.layer.name) and step.layer.name != HEAD
    }
    head = _head(graph)
    if head is not None:
        layers[HEAD] = head
    _check_complete(model, layers)
    values = {
        key: value
        for name, layer in layers.items()
        for key, value in _values(name, layer).items()
    }
    if head is not None:  # PyTorch's always has a bias
        zeros = np.zeros(head.units, "float32")
        values.setdefault((HEAD, "bias"), zeros)
    return convert.from_keras(values, layers, layout or torch_layout(model))


def torch_layout(model: keras.Model) -> str:
    """Return the layout of timm's class for models of the same structure."""
    steps = graph_of_ours(model).steps
    layers = {step.layer.name: step.layer for step in steps}
    if "stage1_expand_conv" in layers:
        return "timm_csp"
    if "stage1_block1_path1_conv" in layers:
        return "timm_sk"
    if "stem_pad" in layers:
        return "timm_senet"
    # Its models have groups of one width, the others a constant number.
    groups = {
        layer.groups
        for name, layer in layers.items()
        if "_conv2" in name and re.fullmatch(OUR_LAYERS, name)
    } - {1}
    return "timm_byob" if len(groups) > 1 else "timm_resnet"


def _head(graph: Graph) -> keras.layers.Dense | None:
    """Return the only Dense layer, if it takes the last maps, pooled."""
    dense = [
        step
        for step in graph.steps
        if isinstance(step.layer, keras.layers.Dense)
    ]
    if len(dense) != 1:
        return None
    conv = next(
        step.layer for step in graph.steps if isinstance(step.layer, Conv2D)
    )
    axis = 1 if conv.data_format == "channels_first" else 3
    channels = [
        step.outputs[0].shape[axis]
        for step in graph.steps
        if re.fullmatch(r"stage\d+_.+", step.layer.name)
    ][-1]
    (features,) = dense[0].inputs
    pooled = features.shape == (features.shape[0], channels)
    return dense[0].layer if pooled else None


def _values(name: str, layer: Any) -> dict[convert.Variable, np.ndarray]:
    """Return the variables of a layer by a name, in float32."""
    values = {}
    for variable in layer.weights:
        path = f"/{variable.path}".rpartition(f"/{layer.name}/")[2]
        value = keras.ops.convert_to_numpy(variable.value)
        values[name, path] = value.astype("float32")
    if getattr(layer, "lora_enabled", False):
        down = values.pop((name, "lora_kernel_a"))
        up = values.pop((name, "lora_kernel_b"))
        scale = layer.lora_alpha / layer.lora_rank
        values[name, "kernel"] += scale * (down @ up)
    return values


def _check_complete(model: keras.Model, layers: Mapping[str, Any]) -> None:
    """Check that a state dict of some layers contains all weights.

    Raises:
        ValueError: If not; the message names the layers.
    """
    for layer in model._flatten_layers():
        if getattr(layer, "quantization_mode", None):
            raise ValueError(
                f"'{layer.name}' is quantized ({layer.quantization_mode}), "
                "which PyTorch's layouts can't represent. Use the model before "
                "it was quantized."
            )
    for layer in layers.values():
        if isinstance(layer, Conv2D) and layer.use_bias:
            raise ValueError(
                f"'{layer.name}' has its batch normalization folded into it, "
                "which PyTorch's layouts can't represent. Use the model before "
                "it was optimized for inference."
            )
    known = {id(x) for layer in layers.values() for x in layer.weights}
    lost = [
        layer.name
        for layer in model._flatten_layers()
        if any(id(x) not in known for x in own_variables(layer))
    ]
    if lost:
        raise ValueError(
            f"PyTorch's layouts have no place for the weights of "
            f"{', '.join(map(repr, lost))}, only for those of a ResNeXt and "
            "of one Dense layer on its pooled features. Use a model of these "
            "alone."
        )
