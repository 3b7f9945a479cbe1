"""Explanations of predictions: heat maps, contributions of paths."""

from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from PIL import Image

from keras_resnext.checks import check_type
from keras_resnext.features import BLOCKS
from keras_resnext.features import ends_of
from keras_resnext.features import last_steps
from keras_resnext.inner import Graph
from keras_resnext.inner import Value
from keras_resnext.inner import graph_of_ours
from keras_resnext.kernels import kernels
from keras_resnext.kernels.generic import Tensor
from keras_resnext.suggestions import did_you_mean

# Number of images that are processed at a time.
_BATCH = 32
# From blue through green to red, for values in equal steps from 0 to 1.
_COLORS = (
    (0, 0, 128),
    (0, 64, 255),
    (0, 255, 192),
    (192, 255, 0),
    (255, 96, 0),
    (128, 0, 0),
)


def grad_cam(
    model: keras.Model,
    images: Any,
    layer: str | None = None,
    classes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Compute heat maps of the evidence for a class: Grad-CAM.

    Each channel of a feature map is weighted by the mean gradient of the
    class's score over the map; only positive evidence is kept (Selvaraju et
    al., 2017, https://arxiv.org/abs/1610.02391, equations 1 and 2). The score
    is the one before the softmax or sigmoid.

    Args:
        model: A model built here with its top, or a Functional or Sequential
            model that contains one and ends in scores of classes.
        images: Inputs of the model, such as normalized pixels, `(batch,
            height, width, channels)`; for several inputs, their list or
            dictionary.
        layer: The feature maps: `"stage4"`, `"stage3_block2"`, or the name of
            any layer that returns maps. `None` for the last block's.
        classes: Index of the class, one for all images or one for each. `None`
            takes the most probable class of each image.

    Returns:
        Heat maps, a float32 array `(batch, map height, map width)` in [0, 1]:
        the maximum of an image is 1, or 0 if there is no evidence for the
        class.

    Raises:
        ValueError: If the model does not contain one built here or has no
            classifier, or there is no such layer or class.

    Example:
    >>> heatmaps = keras_resnext.explain.grad_cam(model, pixels, "stage4")
    >>> heatmaps.shape
    (1, 7, 7)
    >>> keras_resnext.explain.overlay(image, heatmaps[0]).save("cat.png")
    """
    check_type("layer", layer, str | None)
    graph = graph_of_ours(model)
    (*_, maps) = ends_of(graph, BLOCKS).values()
    if layer is not None:
        (name,) = {step.layer.name for step in last_steps(graph, layer)}
        step = graph.find(name)
        assert step is not None
        maps = step.outputs[0]
    if len(maps.shape) != 4:
        raise ValueError(f"The layer {layer!r} does not return feature maps.")
    parts = _Parts(graph, maps)
    return np.concatenate(
        [
            _heatmaps(parts, some, chosen)
            for some, chosen in _batches(graph, images, classes)
        ]
    )


def group_ablation(
    model: keras.Model,
    images: Any,
    block: str,
    classes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Measure the contribution of each of a block's C paths to a class score.

    A block sums the outputs of its paths (Xie et al., 2017,
    https://arxiv.org/abs/1611.05431, equation 3). Removing a path, by setting
    its channels after the grouped convolution to zero, changes the score
    before the softmax. The difference is exact; it takes C predictions of the
    layers that follow.

    Args:
        model: As for `grad_cam`.
        images: As for `grad_cam`.
        block: Name of the block, such as `"stage4_block3"`.
        classes: As for `grad_cam`.

    Returns:
        A float32 array `(batch, C)`: the score with all paths minus the score
        without that path, positive for paths that support the class.

    Raises:
        ValueError: If the model does not contain one built here or has no
            classifier, or there is no such block or class.

    Example:
    >>> paths = keras_resnext.explain.group_ablation
    >>> paths(model, pixels, "stage4_block3").shape
    (1, 32)
    """
    graph = graph_of_ours(model)
    names = [name for name in ends_of(graph, BLOCKS) if name != "stem"]
    if block not in names:
        raise ValueError(
            f"'{model.name}' has no block {block!r}."
            f"{did_you_mean(block, names)} Blocks: {', '.join(names)}"
        )
    paths, groups = _paths(graph, block)
    parts = _Parts(graph, paths)
    width = paths.shape[parts.channel_axis]
    assert width is not None
    of_group = np.arange(width) // (width // groups)
    shape = [1, 1, 1, 1]
    shape[parts.channel_axis] = width
    rows = []
    for some, chosen in _batches(graph, images, classes):
        maps, beside = parts.before(some)
        logits = parts.logits(maps, beside)
        score = _of_classes(logits, chosen)
        if chosen is None:
            chosen = ops.argmax(logits, -1)
        without = []
        for group in range(groups):
            mask = np.reshape(of_group != group, shape)
            masked = maps * ops.cast(mask, maps.dtype)
            logits = parts.logits(masked, beside)
            without.append(_of_classes(logits, chosen))
        added = score[:, None] - ops.stack(without, 1)
        rows.append(np.asarray(ops.convert_to_numpy(added)))
    return np.concatenate(rows)


def overlay(
    image: Image.Image | np.ndarray, heatmap: np.ndarray, alpha: float = 0.5
) -> Image.Image:
    """Blend a heat map with its image.

    Args:
        image: The model's input image: a PIL image, or an array of dtype
            uint8 and shape `(height, width, 3)` or `(height, width)`.
        heatmap: One map of `grad_cam`, of shape `(height, width)` in any
            resolution, in [0, 1].
        alpha: Opacity of the heat map, in [0, 1].

    Returns:
        A PIL image of the image's size, in RGB: blue is 0, red is 1.

    Raises:
        ValueError: If the heat map has another shape or range.

    Example:
    >>> heatmap = np.eye(7)
    >>> keras_resnext.explain.overlay(image, heatmap).save("cat.png")
    """
    heatmap = np.asarray(heatmap, "float32")
    if heatmap.ndim != 2 or not heatmap.size:
        raise ValueError(
            "`heatmap` must be of shape (height, width). Received shape: "
            f"{heatmap.shape}"
        )
    if not (heatmap.min() >= 0 and heatmap.max() <= 1):
        raise ValueError("`heatmap` must be in [0, 1].")
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    image = image.convert("RGB")
    resized = Image.fromarray(heatmap).resize(
        image.size, Image.Resampling.BICUBIC
    )
    heat = np.clip(np.asarray(resized), 0, 1)
    steps = np.linspace(0, 1, len(_COLORS))
    colors = np.stack(
        [np.interp(heat, steps, channel) for channel in np.transpose(_COLORS)],
        axis=-1,
    )
    return Image.blend(image, Image.fromarray(colors.astype("uint8")), alpha)


class _Parts:
    """A model cut in two, and its scores before the softmax."""

    def __init__(self, graph: Graph, cut: Value) -> None:
        self.graph = graph
        self.cut = cut
        name = graph.model.name
        if len(graph.outputs) > 1:
            raise ValueError(
                f"'{name}' must have one output. It has {len(graph.outputs)}; "
                "use a keras.Model that returns only the scores of classes."
            )
        (*_, maps) = ends_of(graph, BLOCKS).values()
        self.last = graph.before_activations(graph.outputs[0])
        if len(self.last.shape) != 2 or not any(
            len(variable.shape) > 1
            for step in graph.behind(maps)
            for variable in getattr(step.layer, "weights", ())
        ):
            raise ValueError(
                f"'{name}' has no classifier. Build it with include_top=True."
            )
        self.head = None
        step = graph.source(self.last)
        if step and isinstance(step.layer, keras.layers.Dense):
            self.head = _without_activation(step.layer)
            (self.last,) = step.inputs
        if self.last is not cut and not any(
            self.last in step.outputs for step in graph.behind(cut)
        ):
            raise ValueError(
                f"The scores of '{name}' do not depend on the maps of "
                f"'{cut.spec.name}'."
            )
        self.beside = graph.beside(cut, [self.last])
        first = next(
            step.layer.data_format
            for step in graph.steps
            if isinstance(step.layer, keras.layers.Conv2D)
        )
        self.channel_axis = 1 if first == "channels_first" else 3

    def before(self, inputs: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Compute the maps, and other values that the scores need."""
        given = dict(zip(self.graph.inputs, inputs, strict=True))
        wanted = [self.cut, *self.beside]
        maps, *beside = self.graph.run(given, wanted, training=False)
        return maps, beside

    def logits(self, maps: Tensor, beside: list[Tensor]) -> Tensor:
        """Compute the scores of all classes, `(batch, classes)`."""
        given = dict(zip(self.beside, beside, strict=True))
        last = self.graph.run({**given, self.cut: maps}, self.last, False)
        return last if self.head is None else self.head(last)


def _without_activation(layer: keras.layers.Dense) -> keras.layers.Dense:
    """Return a layer of the same type and variables, without activation."""
    other = object.__new__(type(layer))
    linear = {"activation": keras.activations.linear}
    other.__dict__.update({**layer.__dict__, **linear})
    return other


def _of_classes(logits: Tensor, classes: Tensor | None) -> Tensor:
    """Return the score of each image's class, or its highest."""
    logits = ops.cast(logits, "float32")
    if classes is None:
        return ops.max(logits, -1)
    indices = ops.expand_dims(ops.convert_to_tensor(classes), -1)
    return ops.squeeze(ops.take_along_axis(logits, indices, -1), -1)


def _heatmaps(
    parts: _Parts, inputs: list[Tensor], chosen: np.ndarray | None
) -> np.ndarray:
    maps, beside = parts.before(inputs)

    def scores(maps: Tensor) -> Tensor:
        return _of_classes(parts.logits(maps, beside), chosen)

    slopes, maps = (
        np.asarray(ops.convert_to_numpy(ops.cast(x, "float32")))
        for x in (kernels.gradient(scores, maps), maps)
    )
    height_and_width = tuple({1, 2, 3} - {parts.channel_axis})
    counts = slopes.mean(height_and_width, keepdims=True)
    heat = np.maximum((counts * maps).sum(parts.channel_axis), 0)
    hottest = heat.max((1, 2), keepdims=True)
    return np.divide(heat, hottest, out=np.zeros_like(heat), where=hottest > 0)


def _batches(
    graph: Graph, images: Any, classes: int | Sequence[int] | None
) -> Iterable[tuple[list[Tensor], np.ndarray | None]]:
    """Yield batches of a model's inputs and of the requested classes."""
    inputs = _arrays(graph, images)
    count = len(inputs[0])
    chosen = None
    if classes is not None:
        chosen = np.asarray(classes)
        known = graph.outputs[0].shape[-1]
        if chosen.dtype.kind not in "iu" or chosen.shape not in (
            (),
            (count,),
        ):
            raise ValueError(
                "`classes` must be a whole number, or one for each of the "
                f"{count} images. Received: {classes!r}"
            )
        if chosen.min() < 0 or chosen.max() >= known:
            raise ValueError(
                f"`classes` must be in [0, {known}). Received: {classes!r}"
            )
        chosen = np.broadcast_to(chosen, count)
    for start in range(0, count, _BATCH):
        part = slice(start, start + _BATCH)
        some = [
            ops.convert_to_tensor(array[part], value.spec.dtype)
            for array, value in zip(inputs, graph.inputs, strict=True)
        ]
        yield some, None if chosen is None else chosen[part]


def _arrays(graph: Graph, images: Any) -> list[np.ndarray]:
    """Return an array for each input of a model."""
    if isinstance(graph.input, dict):
        names = list(graph.input)
        if not isinstance(images, dict) or set(images) != set(names):
            raise ValueError(
                f"`images` must be a dictionary of {', '.join(names)}, as "
                f"'{graph.model.name}' takes. Received: {type(images).__name__}"
            )
    several = len(graph.inputs) > 1
    parts = keras.tree.flatten(images) if several else [images]
    arrays = [np.asarray(ops.convert_to_numpy(part)) for part in parts]
    shapes = [array.shape for array in arrays]
    if (
        len(arrays) != len(graph.inputs)
        or any(
            len(shape) != len(value.shape)
            for shape, value in zip(shapes, graph.inputs, strict=True)
        )
        or len({shape[0] for shape in shapes}) != 1
        or not shapes[0][0]
    ):
        expected = ", ".join(
            str(("batch", *value.shape[1:])).replace("'", "")
            for value in graph.inputs
        )
        raise ValueError(
            f"`images` must be a batch, {expected}. Received shape: "
            f"{', '.join(map(str, shapes))}"
        )
    return arrays


def _paths(graph: Graph, block: str) -> tuple[Value, int]:
    """Return the output of a block's paths, and their number."""
    select = graph.find(f"{block}_select")
    if select:  # which chooses channel by channel
        path = graph.find(f"{block}_path1_conv")
        assert path is not None
        return select.outputs[0], path.layer.groups
    conv = graph.find(f"{block}_conv2")
    assert conv is not None
    # A model for inference has no batch normalization.
    norm = graph.find(f"{block}_bn2") or conv
    return norm.outputs[0], conv.layer.groups
