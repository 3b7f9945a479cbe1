"""How often a network is right."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import keras
import labelled
import numpy as np

import keras_resnext
from keras_resnext.cli import networks


@dataclass
class Tally:
    """What was counted so far."""

    images: int = 0
    right: int = 0
    among_five: int = 0
    seconds: float = 0.0

    @property
    def top1(self) -> float:
        return 100 * self.right / max(self.images, 1)

    @property
    def top5(self) -> float:
        return 100 * self.among_five / max(self.images, 1)

    @property
    def rate(self) -> float:
        return self.images / max(self.seconds, 1e-9)


def measure(
    model: keras.Model,
    transform: keras_resnext.EvaluationTransform,
    pictures: labelled.Pictures,
    batch_size: int,
    tally: Tally,
) -> Iterator[None]:
    """Counts batch by batch, and yields after each.

    Args:
        model: From pictures to `(batch, classes)`.
        transform: What the pictures go through.
        pictures: The pictures.
        batch_size: How many to compute at once.
        tally: Receives the counts.

    Raises:
        ValueError: If the classes are not the network's, or it puts out what
            is no number.
    """
    classes = _classes(model)
    indices = labelled.class_indices(pictures.labels, classes, model.name)
    # All batches are of one shape, which is compiled before time counts.
    size = min(batch_size, pictures.count)
    batch = np.zeros((size, transform.crop, transform.crop, 3), "float32")
    _predict(model, batch)
    began = time.monotonic()
    for images, labels in labelled.batches(pictures, transform, size):
        batch[: len(images)] = images
        outputs = _predict(model, batch)[: len(images)]
        if not np.isfinite(outputs).all():
            raise ValueError(f"'{model.name}' puts out NaN or infinity.")
        best = np.argsort(-outputs, axis=1, kind="stable")[:, :5]
        hits = best == indices[labels][:, None]
        tally.images += len(images)
        tally.right += int(hits[:, 0].sum())
        tally.among_five += int(hits.sum())
        tally.seconds = time.monotonic() - began
        yield


def _classes(model: keras.Model) -> int:
    shape = model.output_shape
    if len(model.outputs) != 1 or len(shape) != 2:
        raise ValueError(f"'{model.name}' does not end in a classifier.")
    return shape[1]


def _predict(model: keras.Model, images: np.ndarray) -> np.ndarray:
    if networks.channels_first():
        images = images.transpose(0, 3, 1, 2)
    return np.asarray(model.predict_on_batch(images), "float32")
