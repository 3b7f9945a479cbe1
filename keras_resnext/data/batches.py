"""Batches of a recipe, for training and for evaluation."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from keras_resnext.data.datasets import Dataset
from keras_resnext.data.datasets import EpochPlan
from keras_resnext.data.datasets import Split
from keras_resnext.training.recipe import Recipe

if TYPE_CHECKING:
    import tensorflow as tf

PADDING = 4
THREADS = os.cpu_count() or 1


def train_batches(
    dataset: Dataset,
    recipe: Recipe,
    batch_size: int | None = None,
    channels: int = 3,
    seed: int = 0,
    epoch: int | None = None,
    first_step: int = 0,
    worker: int = 0,
    workers: int = 1,
) -> tf.data.Dataset:
    """Make the batches of an epoch of training.

    Args:
        dataset: The dataset.
        recipe: Recipe, which defines crop, augmentation, mixing and label
            smoothing.
        batch_size: Images per step, over all workers; `None` for the
            recipe's.
        channels: Number of channels of the model's images, 3 or 1.
        seed: Seed of all randomness, together with the epoch and the position
            of an image in it.
        epoch: Number of the epoch, from 0. `None` draws a new one each time
            that the batches are iterated, as `fit` does in every epoch.
        first_step: Number of steps at the start of the epoch to skip.
        worker: Number of this process, from 0.
        workers: Number of processes that share the batches.

    Returns:
        A `tf.data.Dataset` of pairs of normalized images, float32 of shape
        `(rows, train_size, train_size, channels)`, and of labels, float32 of
        shape `(rows, classes)`. `rows` is this worker's share of a batch; an
        incomplete last batch is left out. `fit` takes it on any backend.

    Raises:
        ValueError: If the dataset has fewer images than a batch, or images of
            another size than the recipe pads.

    Example:
    >>> from keras_resnext import data
    >>> from keras_resnext.training import recipes
    >>> dataset = data.load_dataset("path/to/folder")
    >>> recipe = recipes.get("cifar_paper", epochs=1, batch_size=8)
    >>> batches = data.train_batches(dataset, recipe)
    >>> model = keras_resnext.ResNeXt23s_4x32d(
    ...     weights=None, classes=2, classifier_activation=None
    ... )
    >>> model.compile(recipe.make_optimizer(len(batches)), recipe.make_loss())
    >>> model.fit(batches, epochs=recipe.epochs, shuffle=False)  # it is already
    """
    import tensorflow as tf

    from keras_resnext.data import mixing

    batch_size = batch_size or recipe.batch_size
    check_trainable(dataset, recipe, batch_size)
    plan = EpochPlan(
        seed,
        epoch,
        batch_size,
        recipe.repeated_augment,
        first_step,
        worker,
        workers,
    )
    images = dataset.splits["train"]

    def vary(
        content: tf.Tensor, label: tf.Tensor, place: tf.Tensor, epoch: tf.Tensor
    ) -> tuple:
        seeds = tf.random.fold_in(_epoch_seed(seed, epoch), place)
        image = _augmented(content, recipe, tf.random.split(seeds, 6))
        return image[..., :channels], label, epoch

    batches = images.training(plan).map(vary, num_parallel_calls=THREADS)
    batches = batches.batch(plan.rows, drop_remainder=True)
    shape = (plan.rows, recipe.train_size, recipe.train_size, channels)
    classes, smoothing = len(dataset.labels), recipe.label_smoothing
    # Negative, so that seeds of batches and of images differ.
    steps = tf.data.Dataset.counter(-1 - first_step, -1)

    def finish(step: tf.Tensor, batch: tuple) -> tuple:
        images, labels, epochs = batch
        images = tf.ensure_shape(images, shape)
        labels = tf.one_hot(labels, classes)
        if recipe.mixup or recipe.cutmix:
            seeds = tf.random.fold_in(_epoch_seed(seed, epochs[0]), step)
            images, labels = mixing.mix(
                images, labels, seeds, recipe.mixup, recipe.cutmix
            )
        return images, labels * (1 - smoothing) + smoothing / classes

    batches = tf.data.Dataset.zip(steps, batches).map(finish)
    number = len(plan.positions(images.count)) // plan.rows
    batches = batches.apply(tf.data.experimental.assert_cardinality(number))
    return in_threads(batches)


def evaluation_batches(
    dataset: Dataset,
    recipe: Recipe,
    split: str = "validation",
    batch_size: int | None = None,
    channels: int = 3,
    worker: int = 0,
    workers: int = 1,
) -> tf.data.Dataset:
    """Make the batches of an evaluation.

    Args:
        dataset: The dataset.
        recipe: Recipe, which defines the evaluation transform.
        split: `"validation"` or `"test"`, or `"train"`.
        batch_size: Images per step, over all workers; `None` for the
            recipe's.
        channels: Number of channels of the model's images, 3 or 1.
        worker: Number of this process, from 0.
        workers: Number of processes that share the batches.

    Returns:
        A `tf.data.Dataset` of triples of images and labels, as from
        `train_batches`, and weights, float32 of shape `(rows,)`. All batches
        have one size; padding images in the last one have weight 0.
        `evaluate` and the `validation_data` of `fit` take it.

    Raises:
        ValueError: If the dataset has no such split.

    Example:
    >>> from keras_resnext import data
    >>> dataset = data.load_dataset("path/to/folder")
    >>> recipe = keras_resnext.training.recipes.get("cifar_paper")
    >>> batches = data.evaluation_batches(dataset, recipe, "test")
    >>> images, labels, weights = next(iter(batches))
    >>> images.shape, labels.shape, float(sum(weights))
    (TensorShape([128, 32, 32, 3]), TensorShape([128, 2]), 11.0)
    """
    import tensorflow as tf

    from keras_resnext.data import colors
    from keras_resnext.data import crops

    images = _split(dataset, split)
    batch_size = batch_size or recipe.batch_size
    rows = batch_size // workers
    size = recipe.evaluation_size
    steps = -(-images.count // batch_size)

    def prepare(content: tf.Tensor, label: tf.Tensor, _: tf.Tensor) -> tuple:
        image = crops.centered(
            _pixels(content),
            recipe.evaluation_resize,
            size,
            recipe.interpolation,
        )
        image = colors.normalized(image, recipe.mean, recipe.std)
        return image[..., :channels], label, 1.0

    shape = (size, size, channels)
    batches = images.in_order(worker, workers).map(
        prepare, num_parallel_calls=THREADS
    )
    padding = tf.data.Dataset.from_tensors(
        (np.zeros(shape, np.float32), np.int64(0), np.float32(0))
    )
    batches = batches.concatenate(padding.repeat(rows * steps))
    batches = batches.take(rows * steps).batch(rows, drop_remainder=True)
    classes = len(dataset.labels)

    def finish(
        images: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor
    ) -> tuple:
        images = tf.ensure_shape(images, (rows, *shape))
        return images, tf.one_hot(labels, classes), weights

    batches = batches.map(finish)
    batches = batches.apply(tf.data.experimental.assert_cardinality(steps))
    return in_threads(batches)


def check_trainable(dataset: Dataset, recipe: Recipe, batch_size: int) -> None:
    """Check that a recipe can train on a dataset.

    Args:
        dataset: The dataset.
        recipe: The recipe.
        batch_size: Images per step.

    Raises:
        ValueError: If the dataset has fewer images than a batch, or images of
            another size than the recipe pads.
    """
    images = _split(dataset, "train")
    if batch_size > images.count:
        raise ValueError(
            f"'{dataset.name}' has {images.count:,} training images, fewer "
            f"than the batch size of {batch_size:,}. Use a smaller batch size."
        )
    if recipe.crop != "padded":
        return
    size = (recipe.train_size, recipe.train_size)
    found = getattr(images, "contents", np.empty(0)).shape[1:3]
    if found != size:
        have = "x".join(map(str, found)) if found else "various sizes"
        raise ValueError(
            f"The recipe '{recipe.name}' is for images of {size[0]}x{size[1]}, "
            f"and those of '{dataset.name}' have {have}. Use another recipe, "
            "or set crop=random_resized."
        )


def in_threads(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Prepare images in parallel, each in one thread."""
    import tensorflow as tf

    options = tf.data.Options()
    options.threading.private_threadpool_size = THREADS
    options.threading.max_intra_op_parallelism = 1
    return dataset.prefetch(2).with_options(options)


def _split(dataset: Dataset, name: str) -> Split:
    if name not in dataset.splits:
        raise ValueError(
            f"'{dataset.name}' has no {name} images. It has "
            f"{', '.join(dataset.splits)}."
        )
    return dataset.splits[name]


def _epoch_seed(seed: int, epoch: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    return tf.stack([seed % 2**31, tf.cast(epoch % 2**31, tf.int32)])


def _augmented(content: tf.Tensor, recipe: Recipe, seeds: Any) -> tf.Tensor:
    """Apply a recipe's crop and augmentation to an image.

    Args:
        content: Pixels, or the bytes of a file.
        recipe: The recipe.
        seeds: int32 tensor of shape `(6, 2)`.

    Returns:
        Normalized pixels, float32 of shape `(train_size, train_size, 3)`.
    """
    import tensorflow as tf

    from keras_resnext.data import auto_augment
    from keras_resnext.data import colors
    from keras_resnext.data import crops
    from keras_resnext.data import erasing

    if recipe.crop == "random_resized":
        image = crops.random_resized(
            content if content.dtype == tf.string else _pixels(content),
            recipe.train_size,
            seeds[0],
            recipe.train_interpolation,
            (recipe.crop_scale, 1.0),
        )
    else:
        image = _pixels(content)
    if recipe.horizontal_flip:
        image = crops.flip(image, seeds[1])
    if recipe.auto_augment == "trivial_augment_wide":
        image = auto_augment.trivial_augment_wide(image, seeds[2])
    elif recipe.auto_augment == "rand_augment":
        image = auto_augment.rand_augment(image, recipe.magnitude, seeds[2])
    if recipe.color_jitter:
        image = colors.jitter(image, seeds[3], *[recipe.color_jitter] * 3)
    if recipe.pca_noise:
        image = colors.light(image, seeds[4], recipe.pca_noise)
    image = colors.normalized(image, recipe.mean, recipe.std)
    if recipe.crop == "padded":
        # Padding has the mean color, as in the paper's code.
        image = crops.padded(image, PADDING, seeds[0])
    if recipe.random_erasing:
        image = erasing.erase(
            image,
            seeds[5],
            recipe.random_erasing,
            count=recipe.erasing_count,
            fill=recipe.erasing_fill,
        )
    return image


def _pixels(content: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    from keras_resnext.data import crops

    if content.dtype == tf.string:
        return crops.decoded(content)
    if content.shape[-1] == 1:
        return tf.image.grayscale_to_rgb(content)
    # The last of four channels is transparency.
    return content[..., :3]
