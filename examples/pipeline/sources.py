"""Labelled pictures by what they are for, and the order they come in.

Pictures that can be looked up are put in order by NumPy, which makes a start
in the middle of an epoch free. Those of large data sets of TFDS stand in
files one after another and are read so.
"""

from dataclasses import dataclass
from dataclasses import field
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

SHUFFLED = 16_384


@dataclass(frozen=True)
class Plan:
    """Which pictures an epoch of training takes, and in which order.

    Args:
        seed: Start of all that is random.
        epoch: Number of the epoch, from 0.
        batch_size: Pictures a step, over all workers.
        repeats: How often a picture stands in an epoch.
        first_step: How many steps of the epoch to leave out.
        worker: Number of this process, from 0.
        workers: How many processes share the batches.
    """

    seed: int
    epoch: int
    batch_size: int
    repeats: int = 1
    first_step: int = 0
    worker: int = 0
    workers: int = 1

    @property
    def rows(self) -> int:
        """Pictures a step of this worker."""
        return self.batch_size // self.workers

    @property
    def shuffling(self) -> np.random.Generator:
        return np.random.default_rng((self.seed, self.epoch))

    def order(self, count: int) -> np.ndarray:
        """Which of so many pictures this worker takes, one after another."""
        order = self.shuffling.permutation(count)
        return self._mine(np.repeat(order, self.repeats)[:count])

    def positions(self, count: int) -> np.ndarray:
        """At which places of the epoch those stand."""
        return self._mine(np.arange(count))

    def _mine(self, places: np.ndarray) -> np.ndarray:
        steps = len(places) // self.batch_size
        batches = places[: steps * self.batch_size].reshape(steps, -1)
        start = self.worker * self.rows
        return batches[self.first_step :, start : start + self.rows].ravel()


@dataclass(frozen=True)
class Lookup:
    """Pictures that can be looked up one by one.

    Args:
        contents: Paths of files, or uint8 pixels of pictures of one size.
        classes: Index of the class of each, int64.
    """

    contents: np.ndarray
    classes: np.ndarray

    @property
    def count(self) -> int:
        return len(self.classes)

    def part(self, start: int, end: int) -> "Lookup":
        """From one per cent to another of the pictures, well mixed."""
        mixed = np.random.default_rng(0).permutation(self.count)
        chosen = mixed[self.count * start // 100 : self.count * end // 100]
        chosen.sort()
        return Lookup(self.contents[chosen], self.classes[chosen])

    def training(self, plan: Plan) -> tf.data.Dataset:
        """Triples of content, class and position, by the plan."""
        return self._examples(
            plan.order(self.count), plan.positions(self.count)
        )

    def in_order(self, worker: int = 0, workers: int = 1) -> tf.data.Dataset:
        """The same triples, each of so many workers' own share of them."""
        places = np.arange(worker, self.count, workers)
        return self._examples(places, places)

    def _examples(
        self, indices: np.ndarray, positions: np.ndarray
    ) -> tf.data.Dataset:
        contents, classes = map(tf.constant, (self.contents, self.classes))

        def look_up(index: tf.Tensor, place: tf.Tensor) -> tuple:
            content = tf.gather(contents, index)
            if content.dtype == tf.string:
                content = tf.io.read_file(content)
            return content, tf.gather(classes, index), place

        return tf.data.Dataset.from_tensor_slices((indices, positions)).map(
            look_up, num_parallel_calls=tf.data.AUTOTUNE
        )


@dataclass(frozen=True)
class Records:
    """Encoded pictures in files of TFDS, read one after another.

    Args:
        builder: The data set, on this disk.
        split: Name of a split, or an instruction to read a part of one.
    """

    builder: tfds.core.DatasetBuilder
    split: str | tfds.core.ReadInstruction

    @property
    def count(self) -> int:
        return self.builder.info.splits[self.split].num_examples

    def training(self, plan: Plan) -> tf.data.Dataset:
        """Triples of content, class and position, by the plan."""
        seed = int(plan.shuffling.integers(2**31))
        pairs = self._pairs(plan.worker, plan.workers, seed)
        pairs = pairs.shuffle(SHUFFLED, seed)
        if plan.repeats > 1:
            pairs = pairs.flat_map(
                lambda *pair: tf.data.Dataset.from_tensors(pair).repeat(
                    plan.repeats
                )
            )
        # The workers' shares differ by a picture, and none may run dry.
        pairs = pairs.repeat().skip(plan.first_step * plan.rows)
        return _with_places(pairs, plan.positions(self.count))

    def in_order(self, worker: int = 0, workers: int = 1) -> tf.data.Dataset:
        """The same triples, each of so many workers' own share of them."""
        pairs = self._pairs(worker, workers, None)
        return _with_places(pairs, np.arange(-(-self.count // workers)))

    def _pairs(
        self, worker: int, workers: int, seed: int | None
    ) -> tf.data.Dataset:
        image, label = self.builder.info.supervised_keys
        return self.builder.as_dataset(
            split=tfds.even_splits(self.split, workers)[worker],
            shuffle_files=seed is not None,
            decoders={image: tfds.decode.SkipDecoding()},
            read_config=tfds.ReadConfig(shuffle_seed=seed, try_autocache=False),
        ).map(lambda example: (example[image], example[label]))


def _with_places(pairs: tf.data.Dataset, places: np.ndarray) -> tf.data.Dataset:
    numbered = tf.data.Dataset.zip(
        pairs, tf.data.Dataset.from_tensor_slices(places)
    )
    return numbered.map(lambda pair, place: (*pair, place))


@dataclass(frozen=True)
class Source:
    """A data set.

    Args:
        name: What it is called.
        labels: Names of the classes.
        splits: What there is of `"train"`, `"validation"` and `"test"`.
        channels: Of the pictures: 1 or 3.
        skipped: How many files were no pictures and were left out.
        images: Identity of the images, by which a run recognizes them: JSON
            values by split.
    """

    name: str
    labels: list[str]
    splits: dict[str, Lookup | Records]
    channels: int = 3
    skipped: int = 0
    images: dict[str, Any] = field(default_factory=dict)

    @property
    def held_out(self) -> Lookup | Records:
        """What to measure on while training."""
        return self.splits.get("validation") or self.splits["test"]
