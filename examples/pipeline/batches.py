"""Batches for training and for evaluation, as a recipe has them."""

import os

import numpy as np
import tensorflow as tf

from keras_resnext.training.recipes import Recipe
from pipeline import colors
from pipeline import crops
from pipeline import erasing
from pipeline import mixing
from pipeline import policies
from pipeline.sources import Lookup
from pipeline.sources import Plan
from pipeline.sources import Records

PADDING = 4
THREADS = os.cpu_count() or 1


def training(
    pictures: Lookup | Records,
    recipe: Recipe,
    plan: Plan,
    classes: int,
    channels: int = 3,
) -> tf.data.Dataset:
    """This worker's share of an epoch's batches.

    Args:
        pictures: A split of a `Source`.
        recipe: Says what happens to a picture and to its label.
        plan: Says which pictures come when. All that is random follows from
            its seed, the epoch and a picture's place in it.
        classes: Number of classes.
        channels: Of the network's input: 3, or 1 for grey.

    Returns:
        Pairs of normalized pictures, float32 of shape `(rows, train_size,
        train_size, channels)`, and of labels, float32 of shape
        `(rows, classes)`.
    """
    epoch = tf.constant((plan.seed % 2**31, plan.epoch), tf.int32)

    def vary(content: tf.Tensor, label: tf.Tensor, place: tf.Tensor) -> tuple:
        seeds = tf.random.split(tf.random.fold_in(epoch, place), 6)
        if recipe.crop == "random_resized":
            picture = crops.random_resized(
                content if content.dtype == tf.string else _pixels(content),
                recipe.train_size,
                seeds[0],
                recipe.train_interpolation,
                (recipe.crop_scale, 1.0),
            )
        else:
            picture = _pixels(content)
        if recipe.flip:
            picture = crops.flip(picture, seeds[1])
        if recipe.policy == "trivial_augment_wide":
            picture = policies.trivial_augment_wide(picture, seeds[2])
        elif recipe.policy == "rand_augment":
            picture = policies.rand_augment(
                picture, recipe.policy_magnitude, seeds[2]
            )
        if recipe.color_jitter:
            picture = colors.jitter(
                picture, seeds[3], *[recipe.color_jitter] * 3
            )
        if recipe.lighting:
            picture = colors.light(picture, seeds[4], recipe.lighting)
        picture = colors.normalized(picture, recipe.mean, recipe.std)
        if recipe.crop == "padded":
            # What is padded has the mean colour, as the paper's code has it.
            picture = crops.padded(picture, PADDING, seeds[0])
        if recipe.erasing:
            picture = erasing.erase(
                picture,
                seeds[5],
                recipe.erasing,
                count=recipe.erasing_count,
                fill=recipe.erasing_fill,
            )
        return picture[..., :channels], label

    dataset = pictures.training(plan).map(vary, num_parallel_calls=THREADS)
    shape = (plan.rows, recipe.train_size, recipe.train_size, channels)
    smoothing = recipe.label_smoothing
    # Of places in the epoch, none is below zero.
    steps = tf.data.Dataset.counter(-1 - plan.first_step, -1)

    def finish(step: tf.Tensor, batch: tuple) -> tuple:
        images, labels = tf.ensure_shape(batch[0], shape), batch[1]
        labels = tf.one_hot(labels, classes)
        if recipe.mixup or recipe.cutmix:
            seed = tf.random.fold_in(epoch, step)
            images, labels = mixing.mix(
                images, labels, seed, recipe.mixup, recipe.cutmix
            )
        return images, labels * (1 - smoothing) + smoothing / classes

    dataset = dataset.batch(plan.rows, drop_remainder=True)
    dataset = tf.data.Dataset.zip(steps, dataset)
    return in_threads(dataset.map(finish))


def evaluation(
    pictures: Lookup | Records,
    recipe: Recipe,
    batch_size: int,
    classes: int,
    channels: int = 3,
    worker: int = 0,
    workers: int = 1,
) -> tf.data.Dataset:
    """This worker's share of the batches to measure on.

    Args:
        pictures: A split of a `Source`.
        recipe: Says how pictures are resized, cropped and normalized.
        batch_size: Pictures a step, over all workers.
        classes: Number of classes.
        channels: Of the network's input: 3, or 1 for grey.
        worker: Number of this process, from 0.
        workers: How many processes share the batches.

    Returns:
        Triples of pictures and labels, as for training, and of weights,
        float32 of shape `(rows,)`: all batches are of one size, and what
        fills the last ones up weighs nothing.
    """
    rows = batch_size // workers
    size = recipe.evaluation_size
    steps = -(-pictures.count // batch_size)

    def prepare(content: tf.Tensor, label: tf.Tensor, _: tf.Tensor) -> tuple:
        picture = crops.centered(
            _pixels(content),
            recipe.evaluation_resize,
            size,
            recipe.interpolation,
        )
        picture = colors.normalized(picture, recipe.mean, recipe.std)
        return picture[..., :channels], label, 1.0

    shapes = ((size, size, channels), (), ())
    dataset = pictures.in_order(worker, workers).map(
        prepare, num_parallel_calls=THREADS
    )
    padding = tf.data.Dataset.from_tensors(
        (np.zeros(shapes[0], np.float32), np.int64(0), np.float32(0))
    )
    dataset = dataset.concatenate(padding.repeat(rows * steps))
    dataset = dataset.take(rows * steps).batch(rows, drop_remainder=True)

    def finish(
        images: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor
    ) -> tuple:
        images = tf.ensure_shape(images, (rows, *shapes[0]))
        return images, tf.one_hot(labels, classes), weights

    return in_threads(dataset.map(finish))


def _pixels(content: tf.Tensor) -> tf.Tensor:
    if content.dtype == tf.string:
        return crops.decoded(content)
    if content.shape[-1] == 1:
        return tf.image.grayscale_to_rgb(content)
    # Of four channels the last is transparency.
    return content[..., :3]


def in_threads(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Prepares pictures side by side, each in one thread."""
    options = tf.data.Options()
    options.threading.private_threadpool_size = THREADS
    options.threading.max_intra_op_parallelism = 1
    return dataset.prefetch(2).with_options(options)
