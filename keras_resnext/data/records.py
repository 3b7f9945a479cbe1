"""Datasets of TensorFlow Datasets: images in files, one after another."""

import contextlib
import io
import math
import pathlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_resnext.data.datasets import Dataset
from keras_resnext.data.datasets import EpochPlan
from keras_resnext.data.datasets import IndexedSplit
from keras_resnext.data.datasets import partition
from keras_resnext.data.folders import KEPT_BYTES
from keras_resnext.suggestions import did_you_mean

# Size of the shuffle buffer, in images.
SHUFFLED = 16_384


@dataclass(frozen=True)
class RecordSplit:
    """Encoded images in files of TFDS, read one after another.

    Args:
        builder: The dataset, on this disk.
        split: Name of a split, or an instruction to read a part of one.
    """

    builder: tfds.core.DatasetBuilder
    split: str | tfds.core.ReadInstruction

    @property
    def count(self) -> int:
        return self.builder.info.splits[self.split].num_examples

    def training(self, plan: EpochPlan) -> tf.data.Dataset:
        seed, again = plan.seed, plan.epoch is None
        if plan.epoch is not None:
            seed = int(plan.shuffling(plan.epoch).integers(2**31))
        pairs = self._pairs(plan.worker, plan.workers, seed, again)
        pairs = pairs.shuffle(SHUFFLED, seed, again)
        if plan.repeats > 1:
            pairs = pairs.flat_map(
                lambda *pair: tf.data.Dataset.from_tensors(pair).repeat(
                    plan.repeats
                )
            )
        # Workers' shares differ by an image, and none may run out early.
        pairs = pairs.repeat().skip(plan.first_step * plan.rows)
        positions = plan.positions(self.count)
        epochs = plan.epochs().flat_map(
            lambda epoch: tf.data.Dataset.from_tensors(epoch).repeat(
                len(positions)
            )
        )
        examples = _with_positions(pairs, positions)
        return tf.data.Dataset.zip(examples, epochs).map(
            lambda example, epoch: (*example, epoch)
        )

    def in_order(self, worker: int = 0, workers: int = 1) -> tf.data.Dataset:
        pairs = self._pairs(worker, workers, None)
        return _with_positions(pairs, np.arange(-(-self.count // workers)))

    def encoded(self) -> Iterator[tuple[Any, int]]:
        for image, label in self._pairs(0, 1, None).as_numpy_iterator():
            yield image, int(label)

    def _pairs(
        self,
        worker: int,
        workers: int,
        seed: int | None,
        again: bool = False,
    ) -> tf.data.Dataset:
        """Return the share of a worker.

        Args:
            worker: Number of the worker.
            workers: Number of workers.
            seed: Seed of the order of files; `None` for a fixed order.
            again: Whether each iteration draws a new order.
        """
        image, label = self.builder.info.supervised_keys
        return self.builder.as_dataset(
            split=tfds.even_splits(self.split, workers)[worker],
            shuffle_files=seed is not None,
            decoders={image: tfds.decode.SkipDecoding()},
            read_config=tfds.ReadConfig(
                shuffle_seed=seed,
                shuffle_reshuffle_each_iteration=again,
                try_autocache=False,
            ),
        ).map(lambda example: (example[image], example[label]))


def _with_positions(
    pairs: tf.data.Dataset, positions: np.ndarray
) -> tf.data.Dataset:
    numbered = tf.data.Dataset.zip(
        pairs, tf.data.Dataset.from_tensor_slices(positions)
    )
    return numbered.map(lambda pair, position: (*pair, position))


def open_builder(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder:
    """Open a dataset of TFDS, which may not have been prepared yet.

    Raises:
        ValueError: If TFDS has no dataset of that name.
    """
    try:
        return tfds.builder(name, data_dir=data_dir)
    except ValueError:
        known = tfds.list_builders(with_community_datasets=False)
        raise ValueError(
            f"'{name}' is neither a folder nor a dataset of TFDS."
            f"{did_you_mean(name, known)}"
        ) from None


def open_labeled(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder:
    """Open and prepare a dataset of images with one label each.

    Raises:
        ValueError: If TFDS has no such dataset, or it has other features.
        OSError: If it can't be downloaded, with instructions.
    """
    builder = open_builder(name, data_dir)
    keys = builder.info.supervised_keys or ()
    kinds = (tfds.features.Image, tfds.features.ClassLabel)
    if len(keys) != 2 or not all(
        isinstance(key, str) and isinstance(builder.info.features[key], kind)
        for key, kind in zip(keys, kinds, strict=True)
    ):
        raise ValueError(f"'{name}' does not contain images with one label.")
    prepare(name, builder)
    return builder


def prepare(name: str, builder: tfds.core.DatasetBuilder) -> None:
    """Download a dataset, unless it is already on disk.

    Raises:
        OSError: If it can't be downloaded, with instructions.
    """
    quiet = contextlib.ExitStack()
    if not builder.info.download_size:
        # It would announce a download that does not take place.
        tfds.disable_progress_bar()
        quiet.enter_context(contextlib.redirect_stdout(io.StringIO()))
    try:
        with quiet:
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(
                    try_download_gcs=False
                )
            )
    # Every dataset has its own download code, which fails in its own way.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        how = builder.MANUAL_DOWNLOAD_INSTRUCTIONS
        manual = pathlib.Path(builder._data_dir_root, "downloads", "manual")
        if how and not (manual.is_dir() and any(manual.iterdir())):
            reason = (
                f"It must be downloaded by hand, into {manual}: "
                f"{' '.join(how.split())}"
            )
        raise OSError(f"Can't prepare '{name}': {reason}") from error


def load_tfds(
    name: str, data_dir: str | None = None, validation: bool = False
) -> Dataset:
    """Open a dataset of TFDS, and download it if needed.

    Args:
        name: Name of the dataset.
        data_dir: Folder of TFDS' files; `None` for its default.
        validation: Whether a tenth of the training images is set aside for
            validation where only a test set exists.

    Returns:
        A `Dataset`. Splits without labels are left out.

    Raises:
        ValueError: If there is no such dataset of images with one label.
        OSError: If it can't be downloaded, with instructions.
    """
    builder = open_labeled(name, data_dir)
    image, label = (
        builder.info.features[key] for key in builder.info.supervised_keys
    )
    existing = []
    for split in builder.info.splits:
        _, first = next(RecordSplit(builder, split).encoded(), (None, 0))
        if first >= 0:  # not so ImageNet's test images, whose labels are -1
            existing.append(split)
    splits = {
        purpose: _part(builder, *part, image.shape)
        for purpose, part in partition(existing, validation).items()
    }
    identity = {"version": builder.info.full_name} | {
        split: found.num_examples
        for split, found in builder.info.splits.items()
    }
    return Dataset(
        name, label.names, splits, image.shape[-1] or 3, identity=identity
    )


def load_labeled_split(
    name: str, split: str | None, data_dir: str | None
) -> tuple[RecordSplit, list[str], str]:
    """Open a split of a dataset of TFDS for evaluation.

    Args:
        name: Name of the dataset.
        split: Name of the split; `None` for `"validation"`.
        data_dir: Folder of TFDS' files; `None` for its default.

    Returns:
        The images, the names of the classes and the name of the split.

    Raises:
        ValueError: If there is no such dataset or split.
        OSError: If it can't be downloaded, with instructions.
    """
    split = split or "validation"
    builder = open_labeled(name, data_dir)
    images = RecordSplit(builder, split)
    try:
        count = images.count
    except (KeyError, ValueError):
        count = 0
    if not count:
        known = ", ".join(builder.info.splits)
        raise ValueError(f"'{name}' has no split '{split}'. It has {known}.")
    _, label = builder.info.supervised_keys
    return images, builder.info.features[label].names, split


def _part(
    builder: tfds.core.DatasetBuilder,
    split: str,
    start: int,
    end: int,
    shape: tuple[int | None, ...],
) -> IndexedSplit | RecordSplit:
    part = split
    if end - start < 100:
        part = tfds.core.ReadInstruction(split, start, end, unit="%")
    records = RecordSplit(builder, part)
    pixels = math.prod(side or 0 for side in shape)
    if not pixels or pixels * records.count > KEPT_BYTES:
        return records
    images, classes = tfds.as_numpy(
        builder.as_dataset(split=part, batch_size=-1, as_supervised=True)
    )
    return IndexedSplit(images, classes.astype(np.int64))
