"""Operations of augmentation policies: PIL's, with PIL's rounding.

All take and return float32 pixels of shape `(height, width, 3)` that are
whole numbers in [0, 255]. Factors are those of PIL's `ImageEnhance`: 0 removes
the quality, 1 changes nothing, 2 doubles it.
"""

import math
from typing import Any

import tensorflow as tf

BLACK = (0, 0, 0)


def brightness(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Blend with black."""
    return _blend(0.0, image, factor)


def contrast(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Blend with the mean gray."""
    mean = tf.reduce_mean(tf.cast(_gray(image), tf.float64))
    return _blend(tf.cast(tf.floor(mean + 0.5), tf.float32), image, factor)


def color(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Blend with the gray image."""
    return _blend(_gray(image), image, factor)


def sharpness(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Blend with a smoothed image, except the outermost pixels."""
    rows = image[:-2] + image[1:-1] + image[2:]
    squares = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    inner = image[1:-1, 1:-1]
    smooth = tf.floor((squares + 4 * inner) / 13 + 0.5)
    difference = tf.pad(smooth - inner, ((1, 1), (1, 1), (0, 0)))
    return _blend(image + difference, image, factor)


def posterize(image: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """Keep the highest bits of every value."""
    step = 2.0 ** (8.0 - tf.cast(bits, tf.float32))
    return tf.floor(image / step) * step


def solarize(image: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    """Invert values at or above the threshold."""
    return tf.where(image < threshold, image, 255 - image)


def solarize_add(image: tf.Tensor, addend: tf.Tensor) -> tf.Tensor:
    """Add to values below 128."""
    return tf.where(image < 128, tf.minimum(image + addend, 255), image)


def invert(image: tf.Tensor) -> tf.Tensor:
    """Invert all values."""
    return 255 - image


def auto_contrast(image: tf.Tensor) -> tf.Tensor:
    """Stretch the values of each channel to [0, 255]."""
    low = tf.cast(tf.reduce_min(image, (0, 1)), tf.float64)[:, None]
    high = tf.cast(tf.reduce_max(image, (0, 1)), tf.float64)[:, None]
    values = tf.range(256, dtype=tf.float64)
    scale = 255 / (high - low)
    stretched = tf.clip_by_value(
        tf.floor(values * scale + -low * scale), 0, 255
    )
    return _looked_up(image, tf.where(high > low, stretched, values))


def equalize(image: tf.Tensor) -> tf.Tensor:
    """Make the values of each channel about equally frequent."""
    # Transposed as float32: oneDNN warns about integers.
    values = tf.cast(tf.transpose(tf.reshape(image, (-1, 3))), tf.int32)
    counts = tf.math.bincount(values, minlength=256, axis=-1)
    # All but the pixels of the highest value share the 255 steps.
    last = 255 - tf.argmax(counts[:, ::-1] > 0, axis=-1, output_type=tf.int32)
    highest = tf.gather(counts, last[:, None], batch_dims=1)
    step = (tf.reduce_sum(counts, -1, keepdims=True) - highest) // 255
    below = tf.cumsum(counts, -1, exclusive=True)
    equal = tf.minimum((step // 2 + below) // tf.maximum(step, 1), 255)
    return _looked_up(image, tf.where(step > 0, equal, tf.range(256)))


def shear_x(image: tf.Tensor, factor: tf.Tensor, *how: Any) -> tf.Tensor:
    """Take each pixel from `factor * y` further to the right."""
    return _affine(image, (1, factor, 0), (0, 1, 0), *how)


def shear_y(image: tf.Tensor, factor: tf.Tensor, *how: Any) -> tf.Tensor:
    """Take each pixel from `factor * x` further down."""
    return _affine(image, (1, 0, 0), (factor, 1, 0), *how)


def translate_x(image: tf.Tensor, pixels: tf.Tensor, *how: Any) -> tf.Tensor:
    """Take each pixel from further to the right."""
    return _affine(image, (1, 0, pixels), (0, 1, 0), *how)


def translate_y(image: tf.Tensor, pixels: tf.Tensor, *how: Any) -> tf.Tensor:
    """Take each pixel from further down."""
    return _affine(image, (1, 0, 0), (0, 1, pixels), *how)


def rotate(image: tf.Tensor, degrees: tf.Tensor, *how: Any) -> tf.Tensor:
    """Rotate counter-clockwise about the center."""
    angle = tf.cast(degrees, tf.float32) * (math.pi / 180)
    cos, sin = tf.cos(angle), tf.sin(angle)
    middle = tf.cast(tf.shape(image)[:2], tf.float32) / 2
    y, x = middle[0], middle[1]
    return _affine(
        image,
        (cos, -sin, x - cos * x + sin * y),
        (sin, cos, y - sin * x - cos * y),
        *how,
    )


def _affine(
    image: tf.Tensor,
    horizontal: tuple,
    vertical: tuple,
    fill: tuple[int, int, int] = BLACK,
    interpolation: str = "bilinear",
) -> tf.Tensor:
    """Map pixels by the two rows of an affine matrix; outside is `fill`."""
    matrix = tf.cast(tf.stack([horizontal, vertical]), tf.float32)
    # From coordinates of the corners of pixels to those of their centers.
    offset = (matrix[:, 0] + matrix[:, 1] - 1) / 2 + matrix[:, 2]
    transform = tf.concat([matrix[:, :2], offset[:, None]], axis=1)
    transform = tf.concat([tf.reshape(transform, (1, 6)), [[0.0, 0.0]]], axis=1)
    shape = tf.shape(image)[:2]
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=transform,
        output_shape=shape,
        fill_value=0.0,
        interpolation=interpolation.upper(),
        # The outermost half of a pixel must not blend with what lies beyond.
        fill_mode="NEAREST",
    )[0]
    # PIL truncates; float32 falls slightly short of whole numbers.
    moved = tf.floor(moved + 1e-3)
    height, width = tf.unstack(tf.cast(shape, tf.float32))
    row, column = tf.range(height)[:, None], tf.range(width)
    from_x = transform[0, 0] * column + transform[0, 1] * row + offset[0]
    from_y = transform[0, 3] * column + transform[0, 4] * row + offset[1]
    inside = (from_x >= -0.5) & (from_x < width - 0.5)
    inside &= (from_y >= -0.5) & (from_y < height - 0.5)
    return tf.where(inside[..., None], moved, tf.cast(fill, tf.float32))


def _gray(image: tf.Tensor) -> tf.Tensor:
    """PIL's luma, computed in whole numbers."""
    parts = tf.cast(image, tf.int32) * (19595, 38470, 7471)
    luma = (tf.reduce_sum(parts, -1, keepdims=True) + 0x8000) // 0x10000
    return tf.cast(luma, tf.float32)


def _blend(
    other: tf.Tensor | float, image: tf.Tensor, weight: tf.Tensor
) -> tf.Tensor:
    mixed = other + weight * (image - other)
    return tf.floor(tf.clip_by_value(mixed, 0, 255))


def _looked_up(image: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
    """Look up values in a table for each channel."""
    flat = tf.reshape(tf.cast(table, tf.float32), [-1])
    starts = tf.constant([0, 256, 512])
    return tf.gather(flat, tf.cast(image, tf.int32) + starts)
