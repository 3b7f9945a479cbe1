"""Labeled images by split, and their order in an epoch.

Images that can be looked up one by one are ordered by NumPy, so that starting
in the middle of an epoch costs nothing. Large datasets of TensorFlow Datasets
are stored one image after another and are read in that order, see `records`.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Any
from typing import Protocol

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class EpochPlan:
    """Selection and order of the images of one epoch of training.

    Args:
        seed: Seed of all randomness.
        epoch: Number of the epoch, from 0; `None` for a new one each time
            that the images are iterated.
        batch_size: Images per step, over all workers.
        repeats: Number of times that an image occurs in an epoch.
        first_step: Number of steps at the start of the epoch to skip.
        worker: Number of this process, from 0.
        workers: Number of processes that share the batches.
    """

    seed: int
    epoch: int | None
    batch_size: int
    repeats: int = 1
    first_step: int = 0
    worker: int = 0
    workers: int = 1

    @property
    def rows(self) -> int:
        """Return the images per step of this worker."""
        return self.batch_size // self.workers

    def shuffling(self, epoch: int) -> np.random.Generator:
        """Return the generator that orders an epoch."""
        return np.random.default_rng((self.seed, epoch))

    def epochs(self) -> "tf.data.Dataset":
        """Return a dataset of the number of the epoch, an int64 scalar."""
        import tensorflow as tf

        if self.epoch is not None:
            return tf.data.Dataset.from_tensors(np.int64(self.epoch))
        return tf.data.Dataset.random(
            self.seed, rerandomize_each_iteration=True
        ).take(1)

    def order(self, count: int, epoch: int) -> np.ndarray:
        """Return the indices that this worker takes in an epoch, in order.

        Args:
            count: Number of images.
            epoch: Number of the epoch.

        Returns:
            An int64 array.
        """
        order = self.shuffling(epoch).permutation(count)
        return self._share(np.repeat(order, self.repeats)[:count])

    def positions(self, count: int) -> np.ndarray:
        """Return the positions of this worker's images within the epoch."""
        return self._share(np.arange(count))

    def _share(self, places: np.ndarray) -> np.ndarray:
        steps = len(places) // self.batch_size
        batches = places[: steps * self.batch_size].reshape(steps, -1)
        start = self.worker * self.rows
        return batches[self.first_step :, start : start + self.rows].ravel()


class Split(Protocol):
    """Images of one split.

    `training` and `in_order` return datasets of tuples of an image (pixels or
    the bytes of a file), the index of its class and its position; those of
    `training` end in the number of the epoch.
    """

    @property
    def count(self) -> int:
        """Number of images."""

    def training(self, plan: EpochPlan) -> "tf.data.Dataset":
        """Return the images of an epoch, in the order of a plan."""

    def in_order(self, worker: int = 0, workers: int = 1) -> "tf.data.Dataset":
        """Return the share of one of several workers, in a fixed order."""

    def encoded(self) -> Iterator[tuple[Any, int]]:
        """Yield images, as paths, bytes or pixels, with class indices."""


@dataclass(frozen=True)
class IndexedSplit:
    """Images that can be looked up one by one.

    Args:
        contents: Paths of files, or uint8 pixels of images of one size, of
            shape `(count, height, width, channels)`.
        classes: Index of the class of each image, int64.
    """

    contents: np.ndarray
    classes: np.ndarray

    @property
    def count(self) -> int:
        return len(self.classes)

    def part(self, start: int, end: int) -> "IndexedSplit":
        """Return a random part of the images, the same each time.

        Args:
            start: Start of the part, in percent of the shuffled images.
            end: End of the part, likewise.

        Returns:
            An `IndexedSplit`.
        """
        shuffled = np.random.default_rng(0).permutation(self.count)
        chosen = shuffled[self.count * start // 100 : self.count * end // 100]
        chosen.sort()
        return IndexedSplit(self.contents[chosen], self.classes[chosen])

    def training(self, plan: EpochPlan) -> "tf.data.Dataset":
        import tensorflow as tf

        positions = plan.positions(self.count)
        tables = self._tables()

        def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
            indices = tf.numpy_function(
                lambda number: plan.order(self.count, int(number)),
                [epoch],
                tf.int64,
            )
            indices.set_shape(positions.shape)
            return _look_up(tables, indices, positions).map(
                lambda *example: (*example, epoch)
            )

        return plan.epochs().flat_map(one_epoch)

    def in_order(self, worker: int = 0, workers: int = 1) -> "tf.data.Dataset":
        places = np.arange(worker, self.count, workers)
        return _look_up(self._tables(), places, places)

    def encoded(self) -> Iterator[tuple[Any, int]]:
        for content, label in zip(self.contents, self.classes, strict=True):
            yield content, int(label)

    def _tables(self) -> tuple["tf.Tensor", "tf.Tensor"]:
        """Return contents and classes as tensors outside of any graph.

        A graph would hold a copy, which each iterator writes and reads anew.
        """
        import tensorflow as tf

        return tf.constant(self.contents), tf.constant(self.classes)


def _look_up(
    tables: tuple["tf.Tensor", "tf.Tensor"],
    indices: Any,
    positions: np.ndarray,
) -> "tf.data.Dataset":
    import tensorflow as tf

    contents, classes = tables

    def look_up(index: tf.Tensor, place: tf.Tensor) -> tuple:
        content = tf.gather(contents, index)
        if content.dtype == tf.string:
            content = tf.io.read_file(content)
        return content, tf.gather(classes, index), place

    return tf.data.Dataset.from_tensor_slices((indices, positions)).map(
        look_up, num_parallel_calls=tf.data.AUTOTUNE
    )


@dataclass(frozen=True)
class Dataset:
    """Labeled images.

    Args:
        name: Name of the dataset.
        labels: Names of the classes.
        splits: Images of `"train"`, and of `"validation"` and `"test"` if they
            exist.
        channels: Number of channels of the images, 1 or 3.
        skipped: Number of skipped files, which are not images.
        identity: JSON values by which a run recognizes the images.

    Example:
    >>> from keras_resnext import data
    >>> dataset = data.load_dataset("path/to/folder")
    >>> {name: split.count for name, split in dataset.splits.items()}
    {'train': 24, 'test': 11}
    """

    name: str
    labels: list[str]
    splits: Mapping[str, Split]
    channels: int = 3
    skipped: int = 0
    identity: dict[str, Any] = field(default_factory=dict)


def from_arrays(
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    test: tuple[np.ndarray, np.ndarray] | None = None,
    labels: Sequence[str] | None = None,
    name: str = "arrays",
) -> Dataset:
    """Make a dataset of images in memory.

    Args:
        train: Images to train on, uint8 of shape `(count, height, width,
            channels)` with 1 or 3 channels, and class indices of shape
            `(count,)`.
        validation: Images to validate on, likewise.
        test: Images to test on, likewise.
        labels: Names of the classes; `None` for `"0"`, `"1"`, ….
        name: Name of the dataset.

    Returns:
        A `Dataset`.

    Raises:
        ValueError: If an array has another shape, dtype or range.

    Example:
    >>> pixels = np.zeros((8, 32, 32, 3), "uint8")
    >>> from_arrays((pixels, np.arange(8) % 2)).labels
    ['0', '1']
    """
    found = {"train": train, "validation": validation, "test": test}
    pairs = {
        split: tuple(map(np.asarray, pair))
        for split, pair in found.items()
        if pair is not None
    }
    for split, (images, classes) in pairs.items():
        if (
            images.ndim != 4
            or images.dtype != np.uint8
            or images.shape[-1] not in (1, 3)
        ):
            raise ValueError(
                f"Images of `{split}` must be uint8 of shape (count, height, "
                f"width, 1 or 3). Received: {images.dtype} of shape "
                f"{images.shape}"
            )
        if classes.shape != images.shape[:1] or classes.dtype.kind not in "iu":
            raise ValueError(
                f"Classes of `{split}` must be {len(images)} whole numbers. "
                f"Received: {classes.dtype} of shape {classes.shape}"
            )
    highest = max(int(classes.max(initial=0)) for _, classes in pairs.values())
    names = [str(i) for i in range(highest + 1)] if labels is None else labels
    lowest = min(int(classes.min(initial=0)) for _, classes in pairs.values())
    if lowest < 0 or highest >= len(names):
        raise ValueError(
            f"Class indices must be in [0, {len(names) - 1}]. Received: "
            f"[{lowest}, {highest}]"
        )
    return Dataset(
        name,
        list(map(str, names)),
        {
            split: IndexedSplit(images, classes.astype(np.int64))
            for split, (images, classes) in pairs.items()
        },
        pairs["train"][0].shape[-1],
    )


def partition(
    existing: Sequence[str], validation: bool
) -> dict[str, tuple[str, int, int]]:
    """Return the part of a dataset for each purpose.

    Args:
        existing: Names of the splits that exist.
        validation: Whether a tenth of the training images is set aside for
            validation where only a test set exists.

    Returns:
        A dictionary from the purpose to the name of a split and the start and
        end of a part of it, in percent. Where only training images exist, a
        tenth of them serves for validation and a tenth for the test.

    Raises:
        ValueError: If there are no training images.
    """
    if "train" not in existing:
        raise ValueError("The dataset has no split named 'train'.")
    others = [name for name in SPLITS[1:] if name in existing]
    if not others:
        return {
            "train": ("train", 0, 80),
            "validation": ("train", 80, 90),
            "test": ("train", 90, 100),
        }
    if others == ["test"] and validation:
        return {
            "train": ("train", 0, 90),
            "validation": ("train", 90, 100),
            "test": ("test", 0, 100),
        }
    return {name: (name, 0, 100) for name in ("train", *others)}
