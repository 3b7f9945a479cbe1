"""Labelled pictures for training: from any source to batches of tensors."""

import contextlib
import difflib
import io
import math
import os
import pathlib
import random
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import PIL.Image
import tensorflow as tf
import tensorflow_datasets as tfds

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
SPLITS = ("train", "validation", "test")
CACHED_BYTES = 2**30
SHUFFLED = 10_000


@dataclass(frozen=True)
class Source:
    """Raw pictures: pairs of uint8 pixels of any size and a class's index."""

    name: str
    labels: list[str]
    channels: int
    splits: dict[str, tf.data.Dataset]


@dataclass(frozen=True)
class Input:
    """What the network takes, and how pixels are brought there."""

    size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.size, self.size, self.channels)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of pixels in [0, 255], for each channel."""
        moments = 255 * np.array([self.mean, self.std])
        if self.channels == 1:
            moments = moments.mean(axis=1, keepdims=True)
        return moments[0], moments[1]

    def normalization(self) -> keras.layers.Layer:
        """`preprocess_input` as a layer, which `tf.data` takes anywhere."""
        mean, deviation = self.moments()
        layer = keras.layers.Normalization(mean=mean, variance=deviation**2)
        layer.build((None, *self.shape))
        return layer


def load(name: str, data_dir: str | None, seed: int) -> Source:
    """Opens a folder of pictures, or a data set by its name in TFDS.

    A folder holds `class/*.jpg`, cut into splits by the seed, or
    `train/class/*.jpg`, `test/class/*.jpg` and maybe `validation/…`.

    Raises:
        ValueError: If there is neither, or it holds no labelled pictures.
        OSError: If the data set can't be downloaded.
    """
    known = tfds.list_builders(with_community_datasets=False)
    if os.path.isdir(name) and name not in known:
        return _load_folder(pathlib.Path(name), seed)
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except ValueError:
        near = difflib.get_close_matches(name, known, n=3)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(
            f"'{name}' is neither a folder nor a data set of TFDS.{hint}"
        ) from None
    return _load_tfds(name, builder)


def _load_tfds(name: str, builder: tfds.core.DatasetBuilder) -> Source:
    keys = builder.info.supervised_keys or ()
    kinds = (tfds.features.Image, tfds.features.ClassLabel)
    if len(keys) != 2 or not all(
        isinstance(key, str) and isinstance(builder.info.features[key], kind)
        for key, kind in zip(keys, kinds, strict=True)
    ):
        raise ValueError(f"'{name}' does not hold pictures with one label.")
    image, label = (builder.info.features[key] for key in keys)
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
    # Every data set downloads with code of its own, and fails in its own way.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise OSError(f"Can't prepare '{name}': {reason}") from error
    splits = {
        purpose: tfds.core.ReadInstruction(split, start, end, unit="%")
        for purpose, (split, start, end) in _cuts(builder.info.splits).items()
    }
    return Source(
        name,
        label.names,
        image.shape[-1] or 3,
        builder.as_dataset(split=splits, as_supervised=True),
    )


def _load_folder(folder: pathlib.Path, seed: int) -> Source:
    existing = [name for name in SPLITS if (folder / name).is_dir()]
    if "train" in existing:
        found = {name: _files(folder / name, seed) for name in existing}
    else:
        found = {"train": _files(folder, seed)}
    labels = sorted({file.parent.name for file in found["train"]})
    if len(labels) < 2:
        raise ValueError(
            f"'{folder}' must hold two folders of pictures or more, one per "
            "class, or folders named train and test that do."
        )
    splits = {}
    for purpose, (split, start, end) in _cuts(found).items():
        files = found[split]
        first, last = (len(files) * cut // 100 for cut in (start, end))
        if first == last:
            raise ValueError(
                f"'{folder}' has too few pictures: none is left for {purpose}."
            )
        splits[purpose] = _decoded(files[first:last], labels)
    return Source(str(folder), labels, 3, splits)


def _cuts(existing: Iterable[str]) -> dict[str, tuple[str, int, int]]:
    """From which split, and which per cent of it, each purpose is served."""
    held_out = [name for name in SPLITS[1:] if name in existing]
    if "train" not in existing:
        raise ValueError("The data set has no split named 'train'.")
    if len(held_out) == 2:
        return {name: (name, 0, 100) for name in SPLITS}
    end = 90 if held_out else 80
    return {
        "train": ("train", 0, end),
        "validation": ("train", end, end + 10),
        "test": (held_out[0], 0, 100) if held_out else ("train", 90, 100),
    }


def _files(folder: pathlib.Path, seed: int) -> list[pathlib.Path]:
    files = sorted(
        file for file in folder.glob("*/*") if file.suffix.lower() in SUFFIXES
    )
    for file in files:
        try:
            # Reads the header only.
            PIL.Image.open(file).close()
        except PIL.UnidentifiedImageError:
            raise ValueError(f"'{file}' is not a picture.") from None
    random.Random(seed).shuffle(files)
    return files


def _decoded(files: list[pathlib.Path], labels: list[str]) -> tf.data.Dataset:
    for file in files:
        if file.parent.name not in labels:
            raise ValueError(
                f"'{file}' is of a class without training pictures."
            )
    classes = [labels.index(file.parent.name) for file in files]
    paths = tf.constant([str(file) for file in files], tf.string)

    def decode(
        path: tf.Tensor, label: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        image = tf.io.decode_image(
            tf.io.read_file(path), channels=3, expand_animations=False
        )
        return tf.ensure_shape(image, (None, None, 3)), label

    labelled = tf.data.Dataset.from_tensor_slices(
        (paths, tf.constant(classes, tf.int64))
    )
    return labelled.map(decode, num_parallel_calls=tf.data.AUTOTUNE)


def count(dataset: tf.data.Dataset) -> int:
    """How many elements a data set of known length has."""
    return int(dataset.cardinality())


def batches(
    source: Source,
    split: str,
    inputs: Input,
    batch_size: int,
    augmentation: Iterable[keras.layers.Layer] = (),
    seed: int | None = None,
) -> tf.data.Dataset:
    """Batches of normalized pictures and one-hot labels.

    Args:
        source: The raw pictures.
        split: `"train"`, `"validation"` or `"test"`.
        inputs: What the network takes.
        batch_size: Pictures per batch.
        augmentation: Layers that change batches of training pictures.
        seed: Shuffles the pictures anew in every epoch; `None` leaves them
            in their order.
    """
    dataset = source.splits[split]
    normalization = inputs.normalization()

    def prepare(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, ...]:
        image = _resized(_with_channels(image, inputs.channels), inputs.size)
        return image, tf.one_hot(label, len(source.labels))

    def augment(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        for layer in augmentation:
            images = layer(images, training=True)
        return images, labels

    def normalize(
        images: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        return normalization(images), labels

    pictures = count(dataset)
    dataset = dataset.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
    if pictures * math.prod(inputs.shape) * 4 <= CACHED_BYTES:
        dataset = dataset.cache()
    if seed is not None:
        dataset = dataset.shuffle(min(pictures, SHUFFLED), seed)
    dataset = dataset.batch(batch_size, drop_remainder=seed is not None)
    # One call after another, so that a seed means the same every time.
    return dataset.map(augment).map(normalize).prefetch(tf.data.AUTOTUNE)


def pick(
    dataset: tf.data.Dataset, indices: Sequence[int], inputs: Input
) -> list[np.ndarray]:
    """Pictures out of normalized batches, as pixels in [0, 1]."""
    wanted, found, start = set(indices), {}, 0
    for images, _ in dataset.as_numpy_iterator():
        for i in wanted.intersection(range(start, start + len(images))):
            found[i] = images[i - start]
        start += len(images)
    mean, deviation = inputs.moments()
    return [np.clip((found[i] * deviation + mean) / 255, 0, 1) for i in indices]


def _with_channels(image: tf.Tensor, channels: int) -> tf.Tensor:
    if image.shape[-1] == 1 and channels == 3:
        return tf.image.grayscale_to_rgb(image)
    # Of four channels the last is transparency.
    return image[..., :channels]


def _resized(image: tf.Tensor, size: int) -> tf.Tensor:
    """The middle square, scaled."""
    shape = tf.shape(image)
    side = tf.minimum(shape[0], shape[1])
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    image = image[top : top + side, left : left + side]
    image = tf.image.resize(image, (size, size), antialias=True)
    return tf.ensure_shape(image, (size, size, image.shape[-1]))
