"""Crop, mirror and resize images.

An image is the bytes of a file, a scalar string tensor, or decoded pixels:
uint8, of shape `(height, width, 3)`. Resizing is PIL's, antialiased and with
whole pixel values after each of its two passes.
"""

import math

import tensorflow as tf

KERNELS = {"bilinear": "triangle", "bicubic": "keyscubic"}
TRIES = 10


def random_resized_box(
    height: tf.Tensor,
    width: tf.Tensor,
    seed: tf.Tensor,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Draw the box of a random resized crop, as torchvision does.

    Ten boxes are drawn, with a uniform share of the area and a log-uniform
    ratio of width to height. The first that fits is placed uniformly; if none
    fits, the center of the image is taken, with a ratio within bounds.

    Args:
        height: Height of the image in pixels, an integer or int32 scalar.
        width: Width of the image in pixels, likewise.
        seed: int32 tensor of shape `(2,)`.
        scale: Lowest and highest share of the area.
        ratio: Lowest and highest ratio of width to height.

    Returns:
        Top, left, height and width of the box, int32 scalars.

    Reference:
    - [Going deeper with convolutions](https://arxiv.org/abs/1409.4842)

    Example:
    >>> top, left, height, width = random_resized_box(375, 500, (1, 2))
    >>> bool(top + height <= 375 and left + width <= 500)
    True
    """
    height, width = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    share, shape, vertical, horizontal = tf.unstack(
        tf.random.stateless_uniform((4, TRIES), seed)
    )
    area = height * width * _between(*scale, share)
    ratios = tf.exp(_between(math.log(ratio[0]), math.log(ratio[1]), shape))
    heights = tf.round(tf.sqrt(area / ratios))
    widths = tf.round(tf.sqrt(area * ratios))
    fits = (
        (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)
    )
    first = tf.argmax(fits)
    box_height, box_width = heights[first], widths[first]
    top = tf.floor(vertical[first] * (height - box_height + 1))
    left = tf.floor(horizontal[first] * (width - box_width + 1))

    middle_height = tf.minimum(height, tf.round(width / ratio[0]))
    middle_width = tf.minimum(width, tf.round(height * ratio[1]))
    middle = (
        (height - middle_height) // 2,
        (width - middle_width) // 2,
        middle_height,
        middle_width,
    )
    box = tf.where(
        tf.reduce_any(fits), (top, left, box_height, box_width), middle
    )
    return tuple(tf.unstack(tf.cast(box, tf.int32)))


def random_resized(
    image: tf.Tensor,
    size: int,
    seed: tf.Tensor,
    interpolation: str = "bilinear",
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> tf.Tensor:
    """Resize a random box of the image to a square.

    Only the box of a JPEG file is decoded, without DCT scaling and the fast
    inexact DCT, which would change the pixels.

    Args:
        image: Bytes of a file or uint8 pixels of shape
            `(height, width, 3)`.
        size: Height and width of the result.
        seed: int32 tensor of shape `(2,)`.
        interpolation: `"bilinear"` or `"bicubic"`, antialiased, or
            `"random"`, one of the two for each image, as timm draws it.
        scale: Lowest and highest share of the area.
        ratio: Lowest and highest ratio of width to height.

    Returns:
        float32 pixels of shape `(size, size, 3)`, whole numbers in [0, 255].

    Raises:
        ValueError: If `interpolation` is unknown.

    Example:
    >>> image = tf.zeros((375, 500, 3), tf.uint8)
    >>> random_resized(image, 224, seed=(1, 2)).shape
    TensorShape([224, 224, 3])
    """
    if interpolation == "random":
        which, seed = tf.unstack(tf.random.split(seed, 2))

    def cut(pixels: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(pixels)
        box = random_resized_box(shape[0], shape[1], seed, scale, ratio)
        top, left, height, width = box
        return pixels[top : top + height, left : left + width]

    def decode_cut() -> tf.Tensor:
        shape = tf.image.extract_jpeg_shape(image)
        box = random_resized_box(shape[0], shape[1], seed, scale, ratio)
        return tf.image.decode_and_crop_jpeg(
            image, tf.stack(box), channels=3, dct_method="INTEGER_ACCURATE"
        )

    if image.dtype == tf.string:
        pixels = tf.cond(
            tf.io.is_jpeg(image),
            decode_cut,
            lambda: cut(decoded(image)),
        )
    else:
        pixels = cut(image)

    def resized(interpolation: str) -> tf.Tensor:
        return _resized(pixels, (size, size), size, (0, 0), interpolation)

    if interpolation == "random":
        return tf.cond(
            tf.random.stateless_uniform((), which) < 0.5,
            lambda: resized("bilinear"),
            lambda: resized("bicubic"),
        )
    return resized(interpolation)


def centered(
    image: tf.Tensor, resize: int, size: int, interpolation: str = "bilinear"
) -> tf.Tensor:
    """Resize the shorter side and crop the center, for evaluation.

    The result is that of `keras_resnext.EvaluationTransform` before it
    normalizes, except for one level in fewer than one value in a hundred,
    where TensorFlow and PIL round differently.

    Args:
        image: Bytes of a file or uint8 pixels of shape
            `(height, width, 3)`.
        resize: Length of the shorter side after resizing.
        size: Height and width of the result. Where the resized image is
            smaller, it is padded with zeros.
        interpolation: `"bilinear"` or `"bicubic"`, antialiased.

    Returns:
        float32 pixels of shape `(size, size, 3)`, whole numbers in [0, 255].

    Raises:
        ValueError: If `interpolation` is unknown.

    Example:
    >>> image = tf.zeros((375, 500, 3), tf.uint8)
    >>> centered(image, resize=256, size=224).shape
    TensorShape([224, 224, 3])
    """
    pixels = decoded(image) if image.dtype == tf.string else image
    shape = tf.shape(pixels)[:2]
    # As in torchvision, the longer side is rounded down.
    resized = resize * shape // tf.reduce_min(shape)
    start = tf.where(
        resized < size,
        -((size - resized) // 2),
        tf.cast(tf.round((resized - size) / 2), tf.int32),
    )
    return _resized(pixels, resized, size, start, interpolation)


def padded(image: tf.Tensor, padding: int, seed: tf.Tensor) -> tf.Tensor:
    """Pad with zeros and crop the original size at random, as for CIFAR.

    Args:
        image: Pixels of shape `(height, width, channels)`.
        padding: Pixels to add at each side.
        seed: int32 tensor of shape `(2,)`.

    Returns:
        Pixels of the same shape and dtype.

    Example:
    >>> padded(tf.ones((32, 32, 3)), padding=4, seed=(1, 2)).shape
    TensorShape([32, 32, 3])
    """
    start = tf.random.stateless_uniform(
        (2,), seed, maxval=2 * padding + 1, dtype=tf.int32
    )
    margins = ((padding, padding), (padding, padding), (0, 0))
    cut = tf.slice(
        tf.pad(image, margins), [start[0], start[1], 0], tf.shape(image)
    )
    return tf.ensure_shape(cut, image.shape)


def flip(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Flip horizontally, with a probability of one half.

    Args:
        image: Pixels of shape `(height, width, channels)`.
        seed: int32 tensor of shape `(2,)`.

    Returns:
        Pixels of the same shape and dtype.

    Example:
    >>> flip(tf.ones((32, 32, 3)), seed=(1, 2)).shape
    TensorShape([32, 32, 3])
    """
    return tf.cond(
        tf.random.stateless_uniform((), seed) < 0.5,
        lambda: tf.reverse(image, [1]),
        lambda: tf.identity(image),
    )


def decoded(image: tf.Tensor) -> tf.Tensor:
    """Decode the bytes of a JPEG, PNG, GIF or BMP file.

    Args:
        image: Scalar string tensor.

    Returns:
        uint8 pixels of shape `(height, width, 3)`. Gray becomes RGB; only the
        first image of an animation is decoded.
    """
    pixels = tf.cond(
        tf.io.is_jpeg(image),
        lambda: tf.io.decode_jpeg(
            image, channels=3, dct_method="INTEGER_ACCURATE"
        ),
        lambda: tf.io.decode_image(image, channels=3, expand_animations=False),
    )
    return tf.ensure_shape(pixels, (None, None, 3))


def _between(low: float, high: float, share: tf.Tensor) -> tf.Tensor:
    return low + (high - low) * share


def _resized(
    pixels: tf.Tensor,
    resized: tf.Tensor | tuple[int, int],
    size: int,
    start: tf.Tensor | tuple[int, int],
    interpolation: str,
) -> tf.Tensor:
    """Return the square of side `size` at `start` in the resized image."""
    if interpolation not in KERNELS:
        raise ValueError(
            f"`interpolation` must be one of {', '.join(KERNELS)}. "
            f"Received: {interpolation!r}"
        )
    height = tf.shape(pixels)[0]
    pixels = tf.cast(pixels, tf.float32)
    for axis, shape in ((1, (size, height, 3)), (0, (size, size, 3))):
        # Rounds half up, as PIL; a float32 just below half counts as half.
        # Added here because TensorFlow would swap a mere cast with the
        # transposition, which takes twice as long on integers.
        pixels = tf.transpose(pixels + 0.50001, (1, 0, 2))
        length = tf.shape(pixels)[0]
        scale = tf.cast(resized[axis] / length, tf.float32)
        # As an image one pixel wide, whose channels are all the rest of a row:
        # TensorFlow's loop over few channels would take three times as long.
        pixels = tf.raw_ops.ScaleAndTranslate(
            images=tf.reshape(pixels, (1, length, 1, -1)),
            size=(size, 1),
            scale=tf.stack([scale, 1.0]),
            translation=tf.stack([-tf.cast(start[axis], tf.float32), 0.0]),
            kernel_type=KERNELS[interpolation],
            antialias=True,
        )
        pixels = tf.floor(pixels)
        if interpolation == "bicubic":
            pixels = tf.clip_by_value(pixels, 0, 255)
        # PIL too keeps whole numbers between its two passes.
        pixels = tf.reshape(pixels, shape)
    return pixels
