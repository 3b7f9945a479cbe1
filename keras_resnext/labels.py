"""Names of a model's classes, if known."""

from keras_resnext import imagenet
from keras_resnext.weights.records import Weights

CIFAR10 = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


def known(record: Weights | None, classes: int | None) -> list[str] | None:
    """Return the names of a model's classes.

    Args:
        record: Published checkpoint of its weights, if any.
        classes: Number of classes.

    Returns:
        The names in the model's order, or `None`. Any 1,000 classes are taken
        for ImageNet's.
    """
    if record is not None and record.dataset == "cifar10":
        return list(CIFAR10)
    every = imagenet.classes()
    return [each.name for each in every] if classes == len(every) else None
