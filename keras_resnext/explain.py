"""Why a network says what it says: where it looked, which paths spoke."""

from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from PIL import Image

from keras_resnext.features import block_outputs
from keras_resnext.features import last_layer
from keras_resnext.kernels import kernels
from keras_resnext.kernels.generic import Tensor
from keras_resnext.suggestions import did_you_mean

# How many pictures are worked on at a time.
_BATCH = 32
# From blue by green to red, for values in equal steps from 0 to 1.
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
    """Shows where a network looks to find a class: Grad-CAM.

    Each channel of a feature map counts as much as the class's score rises
    with it, on average over the map, and only what speaks for the class is
    shown (Selvaraju et al., 2017, https://arxiv.org/abs/1610.02391,
    equations 1 and 2). The score is the one before the softmax.

    Args:
        model: A model built here, with its top.
        images: Normalized pixels, `(batch, height, width, channels)`, as the
            model takes them.
        layer: The maps to look at: `"stage4"`, `"stage3_block2"`, or the name
            of a layer past which nothing flows. `None` for the last maps.
        classes: The class to look for, one for all images or one for each.
            `None` takes the most probable of each.

    Returns:
        Heat maps, a float32 array `(batch, map height, map width)` in [0, 1]:
        the hottest place of an image is 1, unless nothing speaks for the
        class and all is 0.

    Raises:
        ValueError: If the model is not one of ours or has no classifier, or
            there is no such layer or class.

    Example:
    >>> heatmaps = keras_resnext.explain.grad_cam(model, pixels, "stage4")
    >>> heatmaps.shape
    (1, 7, 7)
    >>> keras_resnext.explain.overlay(picture, heatmaps[0]).save("cat.png")
    """
    blocks = block_outputs(model).output
    maps = blocks[list(blocks)[-1]]
    if layer is not None:
        maps = last_layer(model, layer).output
    if len(maps.shape) != 4:
        raise ValueError(f"The layer {layer!r} puts out no feature maps.")
    parts = _Parts(model, maps)
    return np.concatenate(
        [
            _heatmaps(parts, some, chosen)
            for some, chosen in _batches(model, images, classes)
        ]
    )


def path_contributions(
    model: keras.Model,
    images: Any,
    block: str,
    classes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Measures what each of a block's C paths adds to the score of a class.

    A block adds up what its paths transform (Xie et al., 2017,
    https://arxiv.org/abs/1611.05431, equation 3). Without a path, its
    channels behind the grouped convolution being zero, the score before the
    softmax is another; the difference is exact, by C predictions of what
    comes behind.

    Args:
        model: A model built here, with its top.
        images: As for `grad_cam`.
        block: Name of the block, such as `"stage4_block3"`.
        classes: As for `grad_cam`.

    Returns:
        A float32 array `(batch, C)`: the score with all paths less the score
        without that one, so that what speaks for the class is positive.

    Raises:
        ValueError: If the model is not one of ours or has no classifier, or
            there is no such block or class.

    Example:
    >>> path_contributions(model, pixels, "stage4_block3").shape
    (1, 32)
    """
    names = [name for name in block_outputs(model).output if name != "stem"]
    if block not in names:
        raise ValueError(
            f"'{model.name}' has no block {block!r}."
            f"{did_you_mean(block, names)} Blocks: {', '.join(names)}"
        )
    paths, groups = _paths(model, block)
    parts = _Parts(model, [paths, *_beside(model, block)])
    width = paths.shape[parts.channel_axis]
    of_group = np.arange(width) // (width // groups)
    shape = [1, 1, 1, 1]
    shape[parts.channel_axis] = width
    rows = []
    for some, chosen in _batches(model, images, classes):
        before, *beside = parts.before(some)
        features = parts.behind([before, *beside])
        chosen = parts.classes(features, chosen)
        score = parts.scores(features, chosen)
        without = []
        for group in range(groups):
            mask = np.reshape(of_group != group, shape)
            masked = before * ops.cast(mask, before.dtype)
            features = parts.behind([masked, *beside])
            without.append(parts.scores(features, chosen))
        added = score[:, None] - ops.stack(without, 1)
        rows.append(np.asarray(ops.convert_to_numpy(added)))
    return np.concatenate(rows)


def overlay(
    image: Image.Image | np.ndarray, heatmap: np.ndarray, alpha: float = 0.5
) -> Image.Image:
    """Lays a heat map over the picture that it belongs to.

    Args:
        image: What the network saw of a picture: a PIL image, or an array of
            dtype uint8 and shape `(height, width, 3)` or `(height, width)`.
        heatmap: One map of `grad_cam`, of shape `(height, width)` in any
            resolution, in [0, 1].
        alpha: How much of the heat covers the picture, in [0, 1].

    Returns:
        A PIL image of the picture's size, in RGB: blue is cold, red is hot.

    Raises:
        ValueError: If the heat map has another shape or range.

    Example:
    >>> keras_resnext.explain.overlay(picture, heatmap).save("cat.png")
    """
    heatmap = np.asarray(heatmap, "float32")
    if heatmap.ndim != 2 or not heatmap.size:
        raise ValueError(
            "`heatmap` must be of shape (height, width). Received shape: "
            f"{heatmap.shape}"
        )
    if not (heatmap.min() >= 0 and heatmap.max() <= 1):
        raise ValueError("`heatmap` must lie in [0, 1].")
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
    """A network cut in two, and its scores before the softmax."""

    def __init__(self, model: keras.Model, cut: Tensor | list[Tensor]) -> None:
        top = model.layers[-1]
        if not isinstance(top, keras.layers.Dense):
            raise ValueError(
                f"'{model.name}' has no classifier. Build it with "
                "include_top=True."
            )
        self.head = top
        self.before = keras.Model(model.input, cut)
        try:
            # Not `top.input`: networks may share their classifier.
            self.behind = keras.Model(cut, model.layers[-2].output)
        except ValueError as error:
            raise ValueError(
                f"'{model.name}' can't be cut there, since others pass the "
                "maps by. Name a stage or a block."
            ) from error
        convs = (
            layer
            for layer in model.layers
            if isinstance(layer, keras.layers.Conv2D)
        )
        first = next(convs).data_format == "channels_first"
        self.channel_axis = 1 if first else 3

    def classes(self, features: Tensor, chosen: np.ndarray | None) -> Tensor:
        """Those asked for, or the most probable."""
        if chosen is not None:
            return ops.convert_to_tensor(chosen)
        kernel, bias = map(ops.convert_to_tensor, self.head.weights)
        return ops.argmax(ops.cast(features, kernel.dtype) @ kernel + bias, -1)

    def scores(self, features: Tensor, classes: Tensor) -> Tensor:
        """One for each image, that of its class."""
        kernel, bias = map(ops.convert_to_tensor, self.head.weights)
        columns = ops.take(ops.transpose(kernel), classes, axis=0)
        products = ops.cast(features, kernel.dtype) * columns
        return ops.sum(products, -1) + ops.take(bias, classes)


def _heatmaps(
    parts: _Parts, images: Tensor, chosen: np.ndarray | None
) -> np.ndarray:
    maps = parts.before(images)
    classes = parts.classes(parts.behind(maps), chosen)

    def scores(maps: Tensor) -> Tensor:
        return parts.scores(parts.behind(maps), classes)

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
    model: keras.Model, images: Any, classes: int | Sequence[int] | None
) -> Iterable[tuple[Tensor, np.ndarray | None]]:
    """Some images at a time, with the classes asked for."""
    images = np.asarray(ops.convert_to_numpy(images))
    if images.ndim != 4 or not len(images):
        raise ValueError(
            "`images` must be a batch, (batch, height, width, channels). "
            f"Received shape: {images.shape}"
        )
    chosen = None
    if classes is not None:
        chosen = np.asarray(classes)
        count = model.output_shape[-1]
        if chosen.dtype.kind not in "iu" or chosen.shape not in (
            (),
            (len(images),),
        ):
            raise ValueError(
                "`classes` must be a whole number, or one for each of the "
                f"{len(images)} images. Received: {classes!r}"
            )
        if chosen.min() < 0 or chosen.max() >= count:
            raise ValueError(
                f"`classes` must be in [0, {count}). Received: {classes!r}"
            )
        chosen = np.broadcast_to(chosen, len(images))
    for start in range(0, len(images), _BATCH):
        part = slice(start, start + _BATCH)
        some = ops.convert_to_tensor(images[part], "float32")
        yield some, None if chosen is None else chosen[part]


def _paths(model: keras.Model, block: str) -> tuple[Tensor, int]:
    """What a block's paths put out, and how many there are."""
    layers = {layer.name: layer for layer in model.layers}
    if f"{block}_select" in layers:  # which chooses channel by channel
        groups = layers[f"{block}_path1_conv"].groups
        return layers[f"{block}_select"].output, groups
    conv = layers[f"{block}_conv2"]
    # A network for inference has no batch normalization any more.
    return layers.get(f"{block}_bn2", conv).output, conv.groups


def _beside(model: keras.Model, block: str) -> list[Tensor]:
    """What passes a block's paths by, and is needed behind them."""
    beside = [model.get_layer(f"{block}_out").input[1]]
    names = {layer.name for layer in model.layers}
    concat = f"{block.partition('_')[0]}_concat"
    if concat in names:
        beside.append(model.get_layer(concat).input[0])
    return beside
