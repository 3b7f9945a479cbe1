"""Images with boxes, of TensorFlow Datasets or synthetic, and their batches.

The objects of an image are float32 of shape `(n, 6)`: left, top, right and
bottom edge as shares of the image, class, and 1 if evaluation ignores it
(COCO's crowds, VOC's difficult objects). Rows of class -1 are padding.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_resnext.data import Dataset
from keras_resnext.data import EpochPlan
from keras_resnext.data import IndexedSplit
from keras_resnext.data import Split
from keras_resnext.training.recipes import Recipe

# Size of the shuffle buffer, in images.
SHUFFLED = 4096
UNCERTAIN = ("is_crowd", "is_difficult")


@dataclass(frozen=True)
class Annotated:
    """Encoded images with objects, in files of TFDS.

    Args:
        builder: The dataset, on this disk.
        split: Name of a split, or an instruction to read a part of one.
        names: Names of the features that contain the image, its objects, and
            of these the box and the class.
        most: Maximum number of objects in an image.
    """

    builder: tfds.core.DatasetBuilder
    split: str | tfds.core.ReadInstruction
    names: tuple[str, str, str, str] = ("image", "objects", "bbox", "label")
    most: int = 0

    @property
    def count(self) -> int:
        return self.builder.info.splits[self.split].num_examples

    def training(self, plan: EpochPlan) -> tf.data.Dataset:
        assert plan.epoch is not None
        assert plan.workers == 1
        seed = int(plan.shuffling(plan.epoch).integers(2**31))
        pairs = self._read(seed).shuffle(SHUFFLED, seed)
        positions = plan.positions(self.count)
        return tf.data.Dataset.zip(
            pairs.skip(plan.first_step * plan.rows),
            tf.data.Dataset.from_tensor_slices(positions),
        ).map(lambda pair, position: (*pair, position, plan.epoch))

    def in_order(self, worker: int = 0, workers: int = 1) -> tf.data.Dataset:
        numbered = self._read(None).enumerate()
        return numbered.map(lambda number, pair: (*pair, number))

    def encoded(self) -> Iterator[tuple[Any, int]]:
        for image, _ in self._read(None).as_numpy_iterator():
            yield image, 0

    def objects(self, example: dict) -> tf.Tensor:
        """Return the objects of an example."""
        _, features, box, label = self.names
        found = example[features]
        top, left, bottom, right = tf.unstack(found[box], axis=-1)
        uncertain = tf.zeros_like(top)
        for name in UNCERTAIN:
            if name in found:
                uncertain = tf.maximum(uncertain, tf.cast(found[name], "float"))
        kind = tf.cast(found[label], "float")
        return tf.stack([left, top, right, bottom, kind, uncertain], -1)

    def _read(self, seed: int | None) -> tf.data.Dataset:
        """Read pairs of image and objects; a seed shuffles the files."""
        image = self.names[0]
        return self.builder.as_dataset(
            split=self.split,
            shuffle_files=seed is not None,
            decoders={image: tfds.decode.SkipDecoding()},
            read_config=tfds.ReadConfig(
                shuffle_seed=seed,
                shuffle_reshuffle_each_iteration=False,
                try_autocache=False,
            ),
        ).map(lambda example: (example[image], self.objects(example)))


def dataset(name: str, data_dir: str | None) -> Dataset:
    """Open a dataset of TFDS.

    Raises:
        ValueError: If there is none of that name, or it has no boxes.
        OSError: If it can't be downloaded, with instructions.
    """
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except ValueError:
        raise ValueError(f"TFDS has no dataset named '{name}'.") from None
    names = _names(builder.info.features)
    if names is None:
        raise ValueError(
            f"'{name}' has no boxes around its objects. coco/2017 and voc/2007 "
            "have."
        )
    # Every dataset has its own download code, which fails in its own way.
    try:
        builder.download_and_prepare()
    except Exception as error:
        raise OSError(f"Can't prepare '{name}': {error}") from error
    print(f"Checking the boxes of {name} …")
    splits: dict[str, Split] = {}
    bad = most = 0
    for purpose, part in _parts(name, builder).items():
        images = Annotated(builder, part, names)
        held, dropped = _looked_through(images)
        splits[purpose] = replace(images, most=held)
        most, bad = max(most, held), bad + dropped
    if not most:
        raise ValueError(f"The images of '{name}' have no objects.")
    labels = builder.info.features[names[1]].feature[names[3]].names
    if bad:
        print(f"{bad:,} boxes are empty or outside their image: left out.")
    return Dataset(
        name, labels, splits, identity={"version": builder.info.full_name}
    )


def _names(
    features: tfds.features.FeaturesDict,
) -> tuple[str, str, str, str] | None:
    """Return a dataset's names of images, objects, boxes and classes."""
    images = [
        name
        for name, feature in features.items()
        if isinstance(feature, tfds.features.Image)
    ]
    for name, feature in features.items():
        inner = getattr(feature, "feature", None)
        if not images or not isinstance(inner, tfds.features.FeaturesDict):
            continue
        found = {type(each): key for key, each in inner.items()}
        box = found.get(tfds.features.BBoxFeature)
        label = found.get(tfds.features.ClassLabel)
        if box and label:
            # Of several labels, the one of that name.
            return images[0], name, box, "label" if "label" in inner else label
    return None


def _parts(
    name: str, builder: tfds.core.DatasetBuilder
) -> dict[str, str | tfds.core.ReadInstruction]:
    """Return the parts for training and for validation."""
    existing = builder.info.splits
    if "train" not in existing:
        raise ValueError(f"'{name}' has no split named 'train'.")
    for held_out in ("validation", "test"):
        if held_out in existing:
            return {"train": "train", "validation": held_out}
    return {
        "train": tfds.core.ReadInstruction("train", 0, 90, unit="%"),
        "validation": tfds.core.ReadInstruction("train", 90, 100, unit="%"),
    }


def _looked_through(records: Annotated) -> tuple[int, int]:
    """Return the maximum number of objects, and that of unusable ones."""
    features, *rest = records.names[1:]
    inner = records.builder.info.features[features].feature
    wanted = {features: {*rest, *(name for name in UNCERTAIN if name in inner)}}
    examples = records.builder.as_dataset(
        split=records.split, decoders=tfds.decode.PartialDecoding(wanted)
    )
    counts = examples.map(
        lambda example: _usable(records.objects(example))[1:]
    ).as_numpy_iterator()
    kept, dropped = zip(*counts, strict=True)
    return max(kept), sum(dropped)


def _usable(objects: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the objects within an image, their number, and that of others."""
    objects = objects[objects[:, 4] >= 0]
    cut = tf.clip_by_value(objects[:, :4], 0.0, 1.0)
    # Comparisons with NaN are false.
    real = (cut[:, 2] > cut[:, 0]) & (cut[:, 3] > cut[:, 1])
    usable = tf.concat([cut, objects[:, 4:]], -1)[real]
    kept = tf.shape(usable)[0]
    return usable, kept, tf.shape(objects)[0] - kept


def train_batches(
    images: Split, recipe: Recipe, plan: EpochPlan
) -> tf.data.Dataset:
    """Return an epoch's batches, as keras-cv takes them.

    Args:
        images: A split of a `Dataset`.
        recipe: Recipe, which sets the image size and horizontal flips.
        plan: Selection and order of the images.

    Returns:
        Pairs of normalized images, float32 of shape `(rows, train_size,
        train_size, 3)`, and of `"boxes"`, `(rows, n, 4)` in pixels, with
        their `"classes"`, `(rows, n)`; padded with -1.
    """
    epoch = tf.constant((plan.seed % 2**31, plan.epoch), tf.int32)

    def vary(
        content: tf.Tensor, objects: tf.Tensor, place: tf.Tensor, _: tf.Tensor
    ) -> tuple:
        image, objects = _fitted(content, objects, recipe)
        objects = objects[objects[:, 5] == 0]
        boxes = objects[:, :4]
        seed = tf.random.fold_in(epoch, place)
        if (
            recipe.horizontal_flip
            and tf.random.stateless_uniform((), seed) < 0.5
        ):
            image = tf.reverse(image, [1])
            left, top, right, bottom = tf.unstack(boxes, axis=-1)
            width = float(recipe.train_size)
            boxes = tf.stack([width - right, top, width - left, bottom], -1)
        return image, {"boxes": boxes, "classes": objects[:, 4]}

    size, most = recipe.train_size, _most(images)
    dataset = images.training(plan).map(
        vary, num_parallel_calls=tf.data.AUTOTUNE
    )
    dataset = dataset.padded_batch(
        plan.rows,
        ((size, size, 3), {"boxes": (most, 4), "classes": (most,)}),
        (0.0, {"boxes": -1.0, "classes": -1.0}),
        drop_remainder=True,
    )
    steps = len(plan.positions(images.count)) // plan.rows
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps))
    return dataset.prefetch(2)


def evaluation_batches(
    images: Split, recipe: Recipe, batch_size: int
) -> tf.data.Dataset:
    """Return the batches of an evaluation.

    Returns:
        Pairs of images, as for training, and of all their objects, with
        edges in pixels: float32 of shape `(rows, n, 6)`.
    """
    size = recipe.train_size
    dataset = images.in_order().map(
        lambda content, objects, _: _fitted(content, objects, recipe),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    shapes = ((size, size, 3), (_most(images), 6))
    dataset = dataset.padded_batch(batch_size, shapes, (0.0, -1.0))
    return dataset.prefetch(2)


def _most(images: Split) -> int:
    if isinstance(images, Annotated):
        return images.most
    assert isinstance(images, IndexedSplit)
    return int(np.shape(images.classes)[1])


def _fitted(
    content: tf.Tensor, objects: tf.Tensor, recipe: Recipe
) -> tuple[tf.Tensor, tf.Tensor]:
    """Fit an image to a square's corner, keeping its aspect ratio."""
    if content.dtype == tf.string:
        content = tf.io.decode_image(
            content, channels=3, expand_animations=False
        )
    size = recipe.train_size
    shape = tf.cast(tf.shape(content)[:2], "float")
    scale = size / tf.reduce_max(shape)
    if content.shape[:2] != (size, size):
        fitting = tf.cast(tf.round(scale * shape), "int32")
        content = tf.image.resize(content, fitting, recipe.interpolation)
    # The rest is black.
    missing = size - tf.shape(content)[:2]
    content = tf.pad(content, ((0, missing[0]), (0, missing[1]), (0, 0)))
    content = tf.ensure_shape(content, (size, size, 3))
    pixels = tf.cast(content, "float") / 255
    image = (pixels - recipe.mean) / recipe.std
    sides = scale * shape[::-1]
    return image, _usable(objects)[0] * tf.concat([sides, sides, [1, 1]], 0)
