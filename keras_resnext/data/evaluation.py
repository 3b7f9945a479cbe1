"""Accuracy of a model on labeled images, transformed by Pillow.

Unlike `batches`, it reproduces published accuracies to the last digit, and
reads image folders without TensorFlow.
"""

import concurrent.futures
import io
import itertools
import os
import pathlib
import time
from collections import deque
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import PIL.Image

from keras_resnext import imagenet
from keras_resnext.data.datasets import Split
from keras_resnext.data.folders import load_labeled_images
from keras_resnext.preprocessing import EvaluationTransform
from keras_resnext.resnext_model import get_data_config

THREADS = os.cpu_count() or 1
# Batches that are decoded ahead, while the model computes.
AHEAD = 3


class ImageError(ValueError):
    """An image is damaged."""


@dataclass(frozen=True)
class LabeledImages:
    """Images of one split of a dataset.

    Args:
        name: Name of the dataset.
        split: Name of the split, empty for a whole folder.
        labels: Names of the classes.
        images: The images.
        limit: Maximum number of images.
    """

    name: str
    split: str
    labels: list[str]
    images: Split
    limit: int | None = None

    @property
    def count(self) -> int:
        """Number of images."""
        found = self.images.count
        return found if self.limit is None else min(found, self.limit)

    def encoded(self) -> Iterator[tuple[Any, int]]:
        """Yield images, as paths or bytes, with class indices."""
        return itertools.islice(self.images.encoded(), self.limit)


def load_labeled(
    name: str,
    split: str | None = None,
    data_dir: str | None = None,
    limit: int | None = None,
) -> LabeledImages:
    """Open the images of a folder or dataset for evaluation.

    Args:
        name: Folder that contains one folder of images per class; or a name
            of TFDS.
        split: `None` for `"validation"`, or all of a folder that contains no
            folder of that name.
        data_dir: Folder of TFDS' files; `None` for its default.
        limit: Maximum number of images. Those of a folder are in random
            order, the same each time.

    Returns:
        The images.

    Raises:
        ValueError: If there are no labeled images.
        OSError: If the dataset can't be downloaded.
    """
    if os.path.isdir(name):
        images, labels, part = load_labeled_images(pathlib.Path(name), split)
        return LabeledImages(name, part, labels, images, limit)
    try:
        from keras_resnext.data import records
    except ImportError:
        raise ValueError(
            f"There is no folder '{name}'. For datasets by name install "
            "tensorflow and tensorflow-datasets."
        ) from None
    records_split, labels, part = records.load_labeled_split(
        name, split, data_dir
    )
    return LabeledImages(name, part, labels, records_split, limit)


@dataclass
class Tally:
    """Counts of correct predictions so far."""

    images: int = 0
    right: int = 0
    among_five: int = 0
    seconds: float = 0.0

    @property
    def top1(self) -> float:
        """Top-1 accuracy in percent."""
        return 100 * self.right / max(self.images, 1)

    @property
    def top5(self) -> float:
        """Top-5 accuracy in percent."""
        return 100 * self.among_five / max(self.images, 1)

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.images / max(self.seconds, 1e-9)


@dataclass(frozen=True)
class Classifier:
    """Classifier of images, a Keras model or an exported file.

    Args:
        name: Name of the model.
        backend: Keras' backend, or the format of an exported file.
        dtype_policy: Dtype policy of a Keras model.
        classes: Number of classes.
        labels: Names of the classes, or `None`.
        transform: Evaluation transform of the images.
        predict: Function from uint8 pixels, `(batch, height, width, 3)`, to
            scores, `(batch, classes)`.
    """

    name: str
    backend: str
    dtype_policy: str
    classes: int
    labels: Sequence[str] | None
    transform: EvaluationTransform
    predict: Callable[[np.ndarray], np.ndarray]

    @classmethod
    def of_model(
        cls, model: keras.Model, transform: EvaluationTransform
    ) -> "Classifier":
        """Return a Keras model as a classifier.

        Raises:
            ValueError: If it is none.
        """
        shape = model.output_shape
        if len(model.outputs) != 1 or len(shape) != 2:
            raise ValueError(f"'{model.name}' does not end in a classifier.")

        def predict(pixels: np.ndarray) -> np.ndarray:
            x = normalized(transform, pixels)
            return np.asarray(model.predict_on_batch(x), "float32")

        policies = [x.dtype_policy.name for x in model.layers if x.weights]
        return cls(
            model.name,
            keras.backend.backend(),
            policies[0],
            shape[1],
            get_data_config(model).labels,
            transform,
            predict,
        )


def normalized(
    transform: EvaluationTransform, pixels: np.ndarray
) -> np.ndarray:
    """Normalize a batch of pixels, in Keras' data format."""
    x = transform.normalize(pixels)
    first = keras.config.image_data_format() == "channels_first"
    return x.transpose(0, 3, 1, 2) if first else x


def measure(
    classifier: Classifier,
    images: LabeledImages,
    batch_size: int,
    tally: Tally,
) -> Iterator[None]:
    """Count correct predictions, and yield after each batch.

    Args:
        classifier: The classifier.
        images: The images.
        batch_size: Number of images per batch.
        tally: Receives the counts.

    Raises:
        ValueError: If the classes do not match the model's, or it returns NaN
            or infinity.
        ImageError: If an image is damaged.
    """
    name, transform = classifier.name, classifier.transform
    indices = class_indices(images.labels, classifier.classes, name)
    # All batches have one shape, which is compiled before timing starts.
    size = min(batch_size, images.count)
    batch = np.zeros(
        (size, transform.crop_size, transform.crop_size, transform.channels),
        "uint8",
    )
    classifier.predict(batch)
    began = time.monotonic()
    for pixels, labels in transformed(images, transform.pixels, size):
        batch[: len(pixels)] = pixels
        outputs = classifier.predict(batch)[: len(pixels)]
        if not np.isfinite(outputs).all():
            raise ValueError(f"'{name}' returns NaN or infinity.")
        best = np.argsort(-outputs, axis=1, kind="stable")[:, :5]
        hits = best == indices[labels][:, None]
        tally.images += len(pixels)
        tally.right += int(hits[:, 0].sum())
        tally.among_five += int(hits.sum())
        tally.seconds = time.monotonic() - began
        yield


def class_indices(labels: list[str], classes: int, name: str) -> np.ndarray:
    """Return the index of each label among a model's classes.

    Args:
        labels: Names of a dataset's classes. WordNet ids (`"n01440764"`) are
            looked up among ImageNet's 1,000; others match by their order.
        classes: Number of classes of the model.
        name: Name of the model.

    Raises:
        ValueError: If the classes do not match.
    """
    wnids = {each.wnid: i for i, each in enumerate(imagenet.classes())}
    if classes == len(wnids) and wnids.keys() >= set(labels):
        return np.array([wnids[label] for label in labels])
    if len(labels) == classes:
        return np.arange(classes)
    unknown = [label for label in labels if label not in wnids]
    raise ValueError(
        f"'{name}' distinguishes {classes:,} classes, and the dataset has "
        f"{len(labels):,}. They must be equally many, or ImageNet's 1,000 and "
        "named by their WordNet ids, such as n01440764"
        + (f", not {unknown[0]!r}." if unknown else ".")
    )


def transformed(
    images: LabeledImages,
    transform: Callable[[PIL.Image.Image], np.ndarray],
    size: int,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield batches of transformed images and labels, prepared by threads.

    Args:
        images: The images.
        transform: Function from an image to an array.
        size: Number of images per batch.

    Raises:
        ImageError: If an image is damaged.
    """
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        waiting: deque = deque()
        encoded = enumerate(images.encoded())
        try:
            while True:
                missing = AHEAD * size - len(waiting)
                for i, (content, label) in itertools.islice(encoded, missing):
                    task = pool.submit(_pixels, content, i, transform)
                    waiting.append((task, label))
                chosen = [
                    waiting.popleft() for _ in range(min(size, len(waiting)))
                ]
                if not chosen:
                    return
                tasks, labels = zip(*chosen, strict=True)
                yield np.stack([t.result() for t in tasks]), np.array(labels)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _pixels(
    content: Any,
    number: int,
    transform: Callable[[PIL.Image.Image], np.ndarray],
) -> np.ndarray:
    name, file = f"'{content!s}'", content
    if isinstance(content, bytes):
        name, file = f"image {number}", io.BytesIO(content)
    try:
        with PIL.Image.open(file) as image:
            return transform(image)
    except PIL.UnidentifiedImageError:
        reason = "it is not an image"
    # On damaged bytes Pillow raises whatever its decoders do.
    except Exception as error:
        reason = str(error).rstrip(".")
    raise ImageError(f"Can't read {name}: {reason}.")
