"""Mixup and cutmix of the images of a batch."""

import tensorflow as tf


def mix(
    images: tf.Tensor,
    labels: tf.Tensor,
    seed: tf.Tensor,
    mixup: float = 0.2,
    cutmix: float = 1.0,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mix every image of a batch with its partner, and their labels.

    The share `s` that an image keeps is drawn once per batch from
    Beta(alpha, alpha). Mixup blends the two images; cutmix copies a box from
    the partner, of `1 - s` of the area, clipped to the image. If both are
    on, each batch draws one of them. As in timm, partners are those of the
    reversed batch; torchvision takes the image before, which is equivalent
    in a shuffled batch.

    Args:
        images: Batch of shape `(batch, height, width, channels)`, of any
            float dtype.
        labels: One-hot labels of shape `(batch, classes)`, likewise.
        seed: int32 tensor of shape `(2,)`.
        mixup: Alpha of mixup; 0 turns it off.
        cutmix: Alpha of cutmix; 0 turns it off.

    Returns:
        Images and labels of the same shapes and dtypes.

    Raises:
        ValueError: If an alpha is negative.

    References:
    - [mixup](https://arxiv.org/abs/1710.09412)
    - [CutMix](https://arxiv.org/abs/1905.04899)

    Example:
    >>> images, labels = tf.ones((8, 224, 224, 3)), tf.one_hot(range(8), 10)
    >>> images, labels = mix(images, labels, seed=(1, 2))
    >>> labels.shape
    TensorShape([8, 10])
    """
    if mixup < 0 or cutmix < 0:
        raise ValueError(
            "`mixup` and `cutmix` must not be negative. Received: "
            f"mixup={mixup}, cutmix={cutmix}"
        )
    choice, rest = tf.unstack(tf.random.split(seed, 2))

    def blend() -> tuple[tf.Tensor, tf.Tensor]:
        share = random_share(mixup, rest)
        return (
            _blend(images, tf.cast(share, images.dtype)),
            _blend(labels, tf.cast(share, labels.dtype)),
        )

    def cut() -> tuple[tf.Tensor, tf.Tensor]:
        shape = tf.shape(images)
        height, width = shape[1], shape[2]
        top, bottom, left, right = random_cut(height, width, rest, cutmix)
        rows, columns = tf.range(height), tf.range(width)
        inside = ((rows >= top) & (rows < bottom))[:, None] & (
            (columns >= left) & (columns < right)
        )
        mixed = tf.where(inside[..., None], images[::-1], images)
        area = (bottom - top) * (right - left) / (height * width)
        return mixed, _blend(labels, tf.cast(1 - area, labels.dtype))

    if mixup and cutmix:
        coin = tf.random.stateless_uniform((), choice)
        return tf.cond(coin < 0.5, cut, blend)
    if mixup:
        return blend()
    if cutmix:
        return cut()
    return images, labels


def random_share(alpha: float, seed: tf.Tensor) -> tf.Tensor:
    """Draw from Beta(alpha, alpha).

    Args:
        alpha: Both parameters of the distribution.
        seed: int32 tensor of shape `(2,)`.

    Returns:
        float64 scalar in [0, 1].
    """
    # In float32 small alphas would often give two zeros.
    parts = tf.random.stateless_gamma((2,), seed, alpha, dtype=tf.float64)
    return tf.math.divide_no_nan(parts[0], tf.reduce_sum(parts))


def random_cut(
    height: tf.Tensor, width: tf.Tensor, seed: tf.Tensor, alpha: float = 1.0
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Draw cutmix's box, centered anywhere in the image.

    Args:
        height: Height of the image in pixels, an integer or int32 scalar.
        width: Width of the image in pixels, likewise.
        seed: int32 tensor of shape `(2,)`.
        alpha: Both parameters of the distribution of the share outside the
            box.

    Returns:
        Top, bottom, left and right of the part inside the image, int32
        scalars, bottom and right exclusive.
    """
    shape = tf.stack([height, width])
    shares, places = tf.unstack(tf.random.split(seed, 2))
    side = tf.sqrt(1 - random_share(alpha, shares))
    lengths = tf.cast(side * tf.cast(shape, tf.float64), tf.int32)
    places = tf.random.stateless_uniform((2,), places, dtype=tf.float64)
    middles = tf.cast(places * tf.cast(shape, tf.float64), tf.int32)
    starts = tf.maximum(middles - lengths // 2, 0)
    # Rounded as in timm, not as in torchvision: an odd length stays odd.
    ends = tf.minimum(middles + (lengths + 1) // 2, shape)
    return starts[0], ends[0], starts[1], ends[1]


def _blend(batch: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    return share * batch + (1 - share) * batch[::-1]
