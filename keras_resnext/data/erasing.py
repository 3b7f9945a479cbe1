"""Random erasing: replace boxes of an image with gray or noise."""

import math

import tensorflow as tf

# Shares of the area and ratios of height to width, of torchvision and of timm.
STYLES = {
    "mean": ((0.02, 0.33), (0.3, 3.3)),
    "noise": ((0.02, 1 / 3), (0.3, 1 / 0.3)),
}
TRIES = 10


def erase(
    image: tf.Tensor,
    seed: tf.Tensor,
    probability: float = 0.5,
    scale: tuple[float, float] | None = None,
    ratio: tuple[float, float] | None = None,
    count: int = 1,
    fill: str = "mean",
) -> tf.Tensor:
    """Erase random boxes of a normalized image.

    The share of the area is uniform and the ratio of height to width
    log-uniform; the first of ten such boxes that fits is placed uniformly.
    With `fill="mean"` this is torchvision's `RandomErasing`, with
    `fill="noise"` timm's with `mode="pixel"`.

    Args:
        image: Normalized pixels of shape `(height, width, channels)`, of
            any float dtype.
        seed: int32 tensor of shape `(2,)`.
        probability: Probability that anything is erased.
        scale: Lowest and highest share of the area, of all boxes together;
            `None` for torchvision's or timm's, by `fill`.
        ratio: Lowest and highest ratio of height to width; likewise.
        count: Maximum number of boxes, which share the area and may overlap.
            The number is drawn uniformly, from 1.
        fill: `"mean"`, zero after the normalization, or `"noise"`, standard
            normal for every channel of every pixel.

    Returns:
        Pixels of the same shape and dtype.

    Raises:
        ValueError: If `fill` is neither, or `count` is less than one.

    Reference:
    - [Random erasing data augmentation](https://arxiv.org/abs/1708.04896)

    Example:
    >>> erase(tf.ones((224, 224, 3)), seed=(1, 2), probability=1.0).shape
    TensorShape([224, 224, 3])
    """
    if fill not in STYLES:
        raise ValueError(
            f"`fill` must be one of {', '.join(STYLES)}. Received: {fill!r}"
        )
    scale, ratio = scale or STYLES[fill][0], ratio or STYLES[fill][1]
    if count < 1:
        raise ValueError(f"`count` must be at least 1. Received: {count}")
    chance, places, noise = tf.unstack(tf.random.split(seed, 3))

    def erased() -> tf.Tensor:
        shape = tf.shape(image)
        top, left, heights, widths = random_boxes(
            shape[0], shape[1], places, scale, ratio, count
        )
        rows = tf.range(shape[0])[:, None]
        columns = tf.range(shape[1])[:, None]
        within_rows = (rows >= top) & (rows < top + heights)
        within_columns = (columns >= left) & (columns < left + widths)
        inside = tf.reduce_any(
            within_rows[:, None] & within_columns[None], axis=-1
        )
        if fill == "noise":
            filling = tf.random.stateless_normal(
                shape, noise, dtype=image.dtype
            )
        else:
            filling = tf.zeros((), image.dtype)
        return tf.where(inside[..., None], filling, image)

    return tf.cond(
        tf.random.stateless_uniform((), chance) < probability,
        erased,
        lambda: tf.identity(image),
    )


def random_boxes(
    height: tf.Tensor,
    width: tf.Tensor,
    seed: tf.Tensor,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    count: int,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Draw the boxes to erase.

    Args:
        height: Height of the image in pixels, an integer or int32 scalar.
        width: Width of the image in pixels, likewise.
        seed: int32 tensor of shape `(2,)`.
        scale: Lowest and highest share of the area, of all boxes together.
        ratio: Lowest and highest ratio of height to width.
        count: Maximum number of boxes.

    Returns:
        Tops, lefts, heights and widths of the boxes, int32 tensors of shape
        `(count,)`. Height and width are zero where no box fits, and beyond
        the number of boxes that is drawn.
    """
    number = tf.constant(1)
    if count > 1:
        which, seed = tf.unstack(tf.random.split(seed, 2))
        number = tf.random.stateless_uniform((), which, 1, count + 1, tf.int32)
    height, width = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    share, shape, vertical, horizontal = tf.unstack(
        tf.random.stateless_uniform((4, count, TRIES), seed)
    )
    area = height * width * (scale[0] + (scale[1] - scale[0]) * share)
    area /= tf.cast(number, tf.float32)
    low, high = math.log(ratio[0]), math.log(ratio[1])
    ratios = tf.exp(low + (high - low) * shape)
    heights = tf.round(tf.sqrt(area * ratios))
    widths = tf.round(tf.sqrt(area / ratios))
    fits = (heights < height) & (widths < width)
    fits &= (tf.range(count) < number)[:, None]
    tops = tf.floor(vertical * (height - heights + 1))
    lefts = tf.floor(horizontal * (width - widths + 1))
    tries = tf.stack([tops, lefts, heights, widths])
    tries = tf.where(fits, tries, 0.0)
    first = tf.argmax(fits, axis=-1)[None, :, None]
    boxes = tf.gather(tries, tf.tile(first, (4, 1, 1)), batch_dims=2)[..., 0]
    return tuple(tf.unstack(tf.cast(boxes, tf.int32)))
