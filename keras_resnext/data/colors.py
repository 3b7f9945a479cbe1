"""Change the colors of images as the paper's own training code does."""

import tensorflow as tf

# Weights of red, green and blue in luma.
LUMA = (0.299, 0.587, 0.114)

# Of ImageNet's pixels, in [0, 1]: the standard deviation along each principal
# component, and the components as columns, from fb.resnet.torch.
DEVIATIONS = (0.2175, 0.0188, 0.0045)
COMPONENTS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


def jitter(
    image: tf.Tensor,
    seed: tf.Tensor,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.4,
) -> tf.Tensor:
    """Change brightness, contrast and saturation, in random order.

    Each change blends the image with another, by a weight drawn uniformly from
    `[1 - strength, 1 + strength]`: brightness with black, saturation with the
    gray image and contrast with the mean of the gray image. As in
    fb.resnet.torch, which trained the paper's models, pixels are neither
    clipped nor rounded, unlike in torchvision's `ColorJitter`.

    Args:
        image: Pixels of shape `(height, width, 3)` in [0, 255].
        seed: int32 tensor of shape `(2,)`.
        brightness: Strength of the change of brightness.
        contrast: Strength of the change of contrast.
        saturation: Strength of the change of saturation.

    Returns:
        float32 pixels of the same shape.

    Reference:
    - [fb.resnet.torch](https://github.com/facebookarchive/fb.resnet.torch)

    Example:
    >>> jitter(tf.ones((224, 224, 3)), seed=(1, 2)).shape
    TensorShape([224, 224, 3])
    """
    draws = tf.random.stateless_uniform((2, 3), seed)
    strengths = tf.constant([brightness, contrast, saturation])
    weights = 1 + (2 * draws[0] - 1) * strengths

    def brighten(x: tf.Tensor) -> tf.Tensor:
        return weights[0] * x

    def contrasted(x: tf.Tensor) -> tf.Tensor:
        return _blend(tf.reduce_mean(_gray(x)), x, weights[1])

    def saturate(x: tf.Tensor) -> tf.Tensor:
        return _blend(_gray(x), x, weights[2])

    changes = (brighten, contrasted, saturate)
    order = tf.argsort(draws[1])
    image = tf.cast(image, tf.float32)
    for i in range(len(changes)):
        image = tf.switch_case(
            order[i],
            # A default argument, since a closure would see the last image.
            [lambda x=image, change=change: change(x) for change in changes],
        )
    return image


def light(
    image: tf.Tensor, seed: tf.Tensor, deviation: float = 0.1
) -> tf.Tensor:
    """Add a color drawn along ImageNet's principal components.

    All pixels get the same color, as in AlexNet, to simulate changing light.

    Args:
        image: Pixels of shape `(height, width, 3)` in [0, 255].
        seed: int32 tensor of shape `(2,)`.
        deviation: Standard deviation of the normal weight of each component,
            relative to that of ImageNet's pixels.

    Returns:
        float32 pixels of the same shape, not clipped.

    Reference:
    - [ImageNet classification with deep convolutional neural networks](
        https://papers.nips.cc/paper/4824)

    Example:
    >>> light(tf.ones((224, 224, 3)), seed=(1, 2)).shape
    TensorShape([224, 224, 3])
    """
    weights = deviation * tf.random.stateless_normal((3,), seed)
    weights *= 255 * tf.constant(DEVIATIONS)
    color = tf.linalg.matvec(tf.constant(COMPONENTS), weights)
    return tf.cast(image, tf.float32) + color


def normalized(
    image: tf.Tensor,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> tf.Tensor:
    """Subtract the mean and divide by the standard deviation, per channel.

    Args:
        image: Pixels of shape `(..., width, channels)` in [0, 255], of
            known width.
        mean: Mean of each channel, for pixels in [0, 1].
        std: Standard deviation of each channel, likewise.

    Returns:
        float32 pixels of the same shape.

    Example:
    >>> white = tf.fill((2, 2, 3), 255)
    >>> float(tf.reduce_max(normalized(white, (0.5,) * 3, (0.5,) * 3)))
    1.0
    """
    # TensorFlow broadcasts along a whole row several times as fast as along
    # three channels.
    width = image.shape[-2]
    scale = tf.constant([1 / (255 * each) for each in std] * width)
    shift = [-m / s for m, s in zip(mean, std, strict=True)]
    shift = tf.constant(shift * width)
    rows = tf.reshape(
        tf.cast(image, tf.float32),
        tf.concat([tf.shape(image)[:-2], [-1]], axis=0),
    )
    return tf.reshape(rows * scale + shift, tf.shape(image))


def _gray(image: tf.Tensor) -> tf.Tensor:
    return tf.tensordot(image, tf.constant(LUMA), 1)[..., None]


def _blend(other: tf.Tensor, image: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    return weight * image + (1 - weight) * other
