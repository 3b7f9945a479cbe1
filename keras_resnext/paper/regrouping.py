"""Models with fewer groups that compute the same, or more groups closest."""

from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np

# From a kernel and its numbers of groups before and after, to the new kernel.
_Regroup = Callable[[np.ndarray, int, int], np.ndarray]


@dataclass(frozen=True)
class Split:
    """Result of `split_groups`: a model with more groups, and its errors.

    Args:
        model: The model.
        errors: Norm of the difference between the old and the new kernel of
            each split convolution, relative to the old kernel's norm.
    """

    model: keras.Model
    errors: Mapping[str, float]

    @property
    def error(self) -> float:
        """Root mean square of the errors of all kernels."""
        squares = [error**2 for error in self.errors.values()]
        return float(np.sqrt(np.mean(squares)))


def merge_groups(model: keras.Model, groups: int) -> keras.Model:
    """Build an equivalent model with fewer, wider groups.

    Neighboring groups are merged; the kernel is zero between channels of
    different old groups. A grouped convolution is a dense one with a sparse
    kernel: https://arxiv.org/abs/1611.05431, section 3.3. Further training
    changes these zeros.

    Args:
        model: A Functional model with grouped convolutions, such as any of
            this package, folded or not. It is not modified.
        groups: New number of groups; must divide that of each grouped
            convolution.

    Returns:
        A `keras.Model` of the same inputs, outputs and names, not compiled.

    Raises:
        ValueError: If there is no grouped convolution, or `groups` does not
            divide the groups of each.

    Example:
    >>> model = keras_resnext.ResNeXt50(weights="imagenet")
    >>> from keras_resnext import paper
    >>> wider = paper.merge_groups(model, 8)
    >>> wider.get_layer("stage1_block1_conv2").groups
    8
    """
    convs = _grouped(model, groups)
    for conv in convs:
        if conv.groups % groups:
            raise ValueError(
                f"`groups` must divide the {conv.groups} groups of "
                f"'{conv.name}'. Received: groups={groups}"
            )
    return _regrouped(model, convs, groups, _merged)


def split_groups(model: keras.Model, groups: int) -> Split:
    """Build the closest model with more, narrower groups.

    Each kernel keeps only the weights within new groups: of all kernels with
    that many groups of neighboring channels, it is the closest in the
    Euclidean norm. Splitting a model of `merge_groups` again is lossless.

    Args:
        model: As for `merge_groups`.
        groups: New number of groups; a multiple of that of each grouped
            convolution that divides its channels.

    Returns:
        A `Split`: the model, not compiled, and the error of each kernel.

    Raises:
        ValueError: If there is no grouped convolution, or `groups` is not a
            multiple of the groups of each or does not divide its channels.

    Example:
    >>> model = keras_resnext.ResNeXt50(weights="imagenet")
    >>> from keras_resnext import paper
    >>> split = paper.split_groups(model, 64)
    >>> split.errors["stage1_block1_conv2"]  # a share of the kernel's norm
    """
    convs = _grouped(model, groups)
    for conv in convs:
        channels = conv.kernel.shape[2] * conv.groups
        if groups % conv.groups or channels % groups or conv.filters % groups:
            raise ValueError(
                f"`groups` must be a multiple of the {conv.groups} groups of "
                f"'{conv.name}' that divides its {channels} channels. "
                f"Received: groups={groups}"
            )
    made = _regrouped(model, convs, groups, _diagonal)
    return Split(
        made,
        {conv.name: _loss(conv, made.get_layer(conv.name)) for conv in convs},
    )


def _grouped(model: keras.Model, groups: int) -> list[keras.layers.Conv2D]:
    """Return the grouped convolutions of a model.

    Raises:
        ValueError: If there are none, or `groups` is invalid.
    """
    if not isinstance(groups, int) or groups < 1:
        raise ValueError(
            f"`groups` must be a positive whole number. Received: {groups!r}"
        )
    if not isinstance(model, keras.Model) or not hasattr(model, "operations"):
        raise ValueError(
            "`model` must be a Functional model, such as one of "
            f"keras_resnext. Received: {model!r}"
        )
    convs = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.groups > 1
    ]
    if not convs:
        raise ValueError(f"'{model.name}' has no grouped convolution.")
    return convs


def _regrouped(
    model: keras.Model,
    convs: list[keras.layers.Conv2D],
    groups: int,
    regroup: _Regroup,
) -> keras.Model:
    """Copy a model with a new number of groups in some convolutions."""
    names = {conv.name for conv in convs}

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if layer.name in names:
            config["groups"] = groups
        return type(layer).from_config(config)

    made = keras.models.clone_model(
        model, input_tensors=model.input, clone_function=clone
    )
    for layer in model.layers:
        values = layer.get_weights()
        if layer.name in names:
            values[0] = regroup(values[0], layer.groups, groups)
        made.get_layer(layer.name).set_weights(values)
    return made


def _merged(kernel: np.ndarray, before: int, after: int) -> np.ndarray:
    """Return the block-diagonal kernel of fewer groups."""
    rows, columns, width, filters = kernel.shape
    many = before // after
    # Merged groups, and the input and output channels of each.
    parts = kernel.reshape(rows, columns, width, after, many, -1)
    made = np.einsum("rciamo,nm->rcniamo", parts, np.eye(many))
    return made.reshape(rows, columns, many * width, filters).astype(
        kernel.dtype
    )


def _diagonal(kernel: np.ndarray, before: int, after: int) -> np.ndarray:
    """Return the part of a kernel within narrower groups."""
    rows, columns, width, filters = kernel.shape
    many = after // before
    parts = kernel.reshape(rows, columns, many, width // many, before, many, -1)
    made = np.einsum("rcmiamo->rciamo", parts)
    return made.reshape(rows, columns, width // many, filters)


def _loss(before: keras.layers.Conv2D, after: keras.layers.Conv2D) -> float:
    """Return the share of a kernel's norm that was lost."""
    kernel, kept = (
        keras.ops.convert_to_numpy(conv.kernel).astype("float64")
        for conv in (before, after)
    )
    lost = kernel - _merged(kept, after.groups, before.groups)
    norm = float(np.linalg.norm(kernel))
    return float(np.linalg.norm(lost)) / norm if norm else 0.0
