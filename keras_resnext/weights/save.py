"""Weights of a model, for PyTorch: timm's and torchvision's state dicts."""

import os
import pathlib
from typing import Any

import keras
import numpy as np
import safetensors.numpy

from keras_resnext import atomic_files
from keras_resnext.weights import convert
from keras_resnext.weights.layouts import LAYOUTS
from keras_resnext.weights.load import variables_of

TORCH_LAYOUTS = [name for name in LAYOUTS if name.startswith("timm_")]


def to_torch_state_dict(
    model: keras.Model, layout: str | None = None
) -> dict[str, Any]:
    """Turns a model's weights into a state dict for timm or torchvision.

    Args:
        model: A model built here, fine-tuned or not, with or without its top.
        layout: Whose names to use: `"timm_resnet"` (torchvision's too),
            `"timm_byob"`, `"timm_sk"`, `"timm_senet"` or `"timm_csp"`;
            `None` finds out by the model's structure.

    Returns:
        float32 tensors on the CPU. They load with `strict=True`; without the
        top, into a network of `num_classes=0`.

    Raises:
        ImportError: If PyTorch is not installed; `save_torch_checkpoint`
            doesn't need it.
        ValueError: If the layout is unknown or has no word for a layer.

    Example:
    >>> net = timm.create_model("resnext50_32x4d", num_classes=10)
    >>> state_dict = keras_resnext.to_torch_state_dict(model)
    >>> net.load_state_dict(state_dict, strict=True)
    """
    import torch

    return {
        name: torch.from_numpy(array)
        for name, array in _state_dict(model, layout).items()
    }


def save_torch_checkpoint(
    model: keras.Model,
    path: str | os.PathLike[str],
    layout: str | None = None,
) -> None:
    """Saves a model's weights as a safetensors file that timm reads.

    `timm.create_model(name, checkpoint_path=path)` opens it, and so do
    `keras_resnext` callables with `weights=path`. PyTorch need not be
    installed.

    Args:
        model: A model built here, fine-tuned or not, with or without its top.
        path: Where to write, ending in `.safetensors`. A file that is there
            is replaced once the new one is whole.
        layout: As for `to_torch_state_dict`.

    Raises:
        ValueError: If the path has another ending, the layout is unknown or
            has no word for a layer.
        OSError: If the file can't be written.

    Example:
    >>> keras_resnext.save_torch_checkpoint(model, "flowers.safetensors")
    """
    path = pathlib.Path(path).expanduser()
    if path.suffix != ".safetensors":
        raise ValueError(
            f"`path` must end in '.safetensors'. Received: '{path}'"
        )
    tensors = _state_dict(model, layout)
    # `save_file` would let nobody else read it.
    content = safetensors.numpy.save(tensors, metadata={"format": "pt"})
    atomic_files.write(path, content)


def _state_dict(
    model: keras.Model, layout: str | None
) -> dict[str, np.ndarray]:
    if layout not in (None, *TORCH_LAYOUTS):
        raise ValueError(
            f"`layout` must be one of {', '.join(TORCH_LAYOUTS)}. "
            f"Received: {layout!r}"
        )
    values = {
        key: keras.ops.convert_to_numpy(variable.value).astype("float32")
        for key, variable in variables_of(model)
    }
    layers = [layer.name for layer in model.layers]
    return convert.from_keras(values, layers, layout or torch_layout(model))


def torch_layout(model: keras.Model) -> str:
    """Which of timm's classes has a network of a model's structure."""
    layers = {layer.name: layer for layer in model.layers}
    if "stage1_expand_conv" in layers:
        return "timm_csp"
    if "stage1_block1_path1_conv" in layers:
        return "timm_sk"
    if "stem_pad" in layers:
        return "timm_senet"
    # Its networks have groups of one width, the others as many everywhere.
    groups = {
        layer.groups for name, layer in layers.items() if "_conv2" in name
    } - {1}
    return "timm_byob" if len(groups) > 1 else "timm_resnet"
