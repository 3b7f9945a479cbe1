"""Automatic augmentation: TrivialAugment and timm's RandAugment."""

import functools
from collections.abc import Callable

import tensorflow as tf

from keras_resnext.data import operations

GRAY = (124, 116, 104)  # ImageNet's mean
BINS = 31


def trivial_augment_wide(
    image: tf.Tensor,
    seed: tf.Tensor,
    interpolation: str = "bilinear",
    fill: tuple[int, int, int] = operations.BLACK,
) -> tf.Tensor:
    """Apply one operation of one strength, all equally probable.

    The operations, their 31 strengths and signs are those of torchvision's
    `TrivialAugmentWide`, which defaults to `"nearest"`; the recipe of its
    weights sets `"bilinear"`.

    Args:
        image: Pixels of shape `(height, width, 3)`, whole numbers in
            [0, 255].
        seed: int32 tensor of shape `(2,)`.
        interpolation: `"bilinear"` or `"nearest"`, where pixels move.
        fill: RGB color of pixels from outside the image.

    Returns:
        float32 pixels of the same shape, whole numbers in [0, 255].

    Reference:
    - [TrivialAugment](https://arxiv.org/abs/2103.10158)

    Example:
    >>> trivial_augment_wide(tf.ones((224, 224, 3)), seed=(1, 2)).shape
    TensorShape([224, 224, 3])
    """
    draws = tf.random.stateless_uniform((3,), seed)
    level = tf.floor(draws[1] * BINS) / (BINS - 1)
    sign = tf.where(draws[2] < 0.5, -1.0, 1.0)
    how = (fill, interpolation)
    x = tf.cast(image, tf.float32)
    enhance = 1 + sign * level * 0.99
    shear = sign * level * 0.99
    pixels = sign * tf.floor(level * 32)
    changed = tf.switch_case(
        tf.cast(draws[0] * 14, tf.int32),
        [
            lambda: x,
            lambda: operations.shear_x(x, shear, *how),
            lambda: operations.shear_y(x, shear, *how),
            lambda: operations.translate_x(x, pixels, *how),
            lambda: operations.translate_y(x, pixels, *how),
            lambda: operations.rotate(x, sign * level * 135, *how),
            lambda: operations.brightness(x, enhance),
            lambda: operations.color(x, enhance),
            lambda: operations.contrast(x, enhance),
            lambda: operations.sharpness(x, enhance),
            lambda: operations.posterize(x, 8 - tf.round(level * 6)),
            lambda: operations.solarize(x, 255 - level * 255),
            lambda: operations.auto_contrast(x),
            lambda: operations.equalize(x),
        ],
    )
    return tf.ensure_shape(changed, image.shape)


def rand_augment(
    image: tf.Tensor,
    magnitude: float,
    seed: tf.Tensor,
    fill: tuple[int, int, int] = GRAY,
) -> tf.Tensor:
    """Apply two random operations, each with a probability of one half.

    timm's `rand-m{magnitude}-mstd0.5-inc1`: each operation draws its own
    magnitude from a normal distribution of standard deviation 0.5, clipped
    to [0, 10]; higher magnitudes change the image more. Pixels move with
    bilinear interpolation; timm draws bilinear or bicubic, which TensorFlow's
    operation lacks.

    Args:
        image: Pixels of shape `(height, width, 3)`, whole numbers in
            [0, 255].
        magnitude: Mean magnitude, in [0, 10].
        seed: int32 tensor of shape `(2,)`.
        fill: RGB color of pixels from outside the image.

    Returns:
        float32 pixels of the same shape, whole numbers in [0, 255].

    Raises:
        ValueError: If the magnitude is not between 0 and 10.

    References:
    - [RandAugment](https://arxiv.org/abs/1909.13719)
    - [ResNet strikes back](https://arxiv.org/abs/2110.00476)

    Example:
    >>> rand_augment(tf.ones((224, 224, 3)), 7, seed=(1, 2)).shape
    TensorShape([224, 224, 3])
    """
    if not 0 <= magnitude <= 10:
        raise ValueError(
            f"`magnitude` must be in [0, 10]. Received: {magnitude}"
        )
    shape = image.shape
    image = tf.cast(image, tf.float32)
    for each in tf.unstack(tf.random.split(seed, 2)):
        choice, noise = tf.unstack(tf.random.split(each, 2))
        draws = tf.random.stateless_uniform((3,), choice)
        level = magnitude + 0.5 * tf.random.stateless_normal((), noise)
        level = tf.clip_by_value(level, 0, 10) / 10
        sign = tf.where(draws[1] < 0.5, -1.0, 1.0)
        changes = increasing(image, level, sign, fill)
        index = 1 + tf.cast(draws[0] * len(changes), tf.int32)
        image = tf.switch_case(
            tf.where(draws[2] < 0.5, index, 0),
            [functools.partial(tf.identity, image), *changes.values()],
        )
    return tf.ensure_shape(image, shape)


def increasing(
    x: tf.Tensor,
    level: tf.Tensor,
    sign: tf.Tensor,
    fill: tuple[int, int, int],
) -> dict[str, Callable[[], tf.Tensor]]:
    """Return the operations of `rand_augment`, by timm's names.

    Args:
        x: float32 pixels of shape `(height, width, 3)`.
        level: Strength of the change, in [0, 1].
        sign: Direction of the change, -1 or 1.
        fill: RGB color of pixels from outside the image.

    Returns:
        Functions without arguments, each of which returns the changed `x`.
    """
    enhance = tf.maximum(0.1, 1 + sign * level * 0.9)
    shear = sign * level * 0.3
    size = tf.cast(tf.shape(x), tf.float32)
    share = sign * level * 0.45
    return {
        "AutoContrast": lambda: operations.auto_contrast(x),
        "Equalize": lambda: operations.equalize(x),
        "Invert": lambda: operations.invert(x),
        "Rotate": lambda: operations.rotate(x, sign * level * 30, fill),
        "PosterizeIncreasing": lambda: operations.posterize(
            x, 4 - tf.floor(level * 4)
        ),
        "SolarizeIncreasing": lambda: operations.solarize(
            x, 256 - tf.floor(level * 256)
        ),
        "SolarizeAdd": lambda: operations.solarize_add(
            x, tf.floor(level * 110)
        ),
        "ColorIncreasing": lambda: operations.color(x, enhance),
        "ContrastIncreasing": lambda: operations.contrast(x, enhance),
        "BrightnessIncreasing": lambda: operations.brightness(x, enhance),
        "SharpnessIncreasing": lambda: operations.sharpness(x, enhance),
        "ShearX": lambda: operations.shear_x(x, shear, fill),
        "ShearY": lambda: operations.shear_y(x, shear, fill),
        "TranslateXRel": lambda: operations.translate_x(
            x, share * size[1], fill
        ),
        "TranslateYRel": lambda: operations.translate_y(
            x, share * size[0], fill
        ),
    }
