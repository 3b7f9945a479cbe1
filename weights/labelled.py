"""Labelled pictures to measure with: a folder's, or a data set's of TFDS."""

import concurrent.futures
import io
import itertools
import os
import pathlib
import random
from collections import deque
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import PIL.Image

import keras_resnext

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
SPLIT = "validation"
THREADS = os.cpu_count() or 1
# Batches that are decoded, or waited for, while the network computes.
AHEAD = 3


class PictureError(ValueError):
    """A picture that can't be read."""


@dataclass(frozen=True)
class Pictures:
    """Encoded pictures, each with the index of its class.

    Args:
        name: What the data set is called.
        split: Which part of it this is; empty if it has no parts.
        labels: Names of the classes.
        count: Number of pictures.
        each: Begins anew: pairs of a file's path, or its content, and the
            class's index.
    """

    name: str
    split: str
    labels: list[str]
    count: int
    each: Callable[[], Iterator[tuple[pathlib.Path | bytes, int]]]


def load(
    name: str, split: str | None, data_dir: str | None, limit: int | None
) -> Pictures:
    """Opens a folder of one folder of pictures per class, or a data set.

    Args:
        name: Path of a folder, or a name of TFDS.
        split: `None` for `"validation"`; of a folder, for all of it if it
            holds no folder of that name.
        data_dir: Where TFDS keeps its files.
        limit: How many pictures to take at most. A folder's are shuffled.

    Raises:
        ValueError: If there are no labelled pictures.
        OSError: If the data set can't be downloaded.
    """
    if os.path.isdir(name):
        return _load_folder(pathlib.Path(name), split, limit)
    return _load_tfds(name, split or SPLIT, data_dir, limit)


def _load_folder(
    folder: pathlib.Path, split: str | None, limit: int | None
) -> Pictures:
    root = folder / (split or SPLIT)
    if not root.is_dir():
        if split is not None:
            raise ValueError(f"'{folder}' holds no folder '{split}'.")
        root = folder
    files = sorted(
        file for file in root.glob("[!.]*/*") if file.suffix.lower() in SUFFIXES
    )
    if not files:
        raise ValueError(
            f"'{root}' must hold one folder of pictures for each class."
        )
    # Class by class, a part would not stand for the whole.
    random.Random(0).shuffle(files)
    labels = sorted(
        path.name
        for path in root.iterdir()
        if path.is_dir() and not path.name.startswith(".")
    )
    index = {label: i for i, label in enumerate(labels)}
    pairs = [(file, index[file.parent.name]) for file in files[:limit]]
    part = "" if root == folder else root.name
    return Pictures(str(folder), part, labels, len(pairs), lambda: iter(pairs))


def _load_tfds(
    name: str, split: str, data_dir: str | None, limit: int | None
) -> Pictures:
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise ValueError(
            f"There is no folder '{name}'. For data sets by name install "
            "tensorflow-datasets and tensorflow."
        ) from None

    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except ValueError:
        raise ValueError(
            f"'{name}' is neither a folder nor a data set of TFDS."
        ) from None
    keys = builder.info.supervised_keys or ()
    kinds = (tfds.features.Image, tfds.features.ClassLabel)
    if len(keys) != 2 or not all(
        isinstance(key, str) and isinstance(builder.info.features[key], kind)
        for key, kind in zip(keys, kinds, strict=True)
    ):
        raise ValueError(f"'{name}' does not hold pictures with one label.")
    image, label = keys
    try:
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )
    # Every data set downloads with code of its own, and fails in its own way.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise OSError(f"Can't prepare '{name}': {reason}") from error
    try:
        count = builder.info.splits[split].num_examples
        dataset = builder.as_dataset(
            split=split, decoders={image: tfds.decode.SkipDecoding()}
        ).take(-1 if limit is None else limit)
    except (KeyError, ValueError):
        known = ", ".join(builder.info.splits)
        raise ValueError(
            f"'{name}' has no split '{split}'. It has {known}."
        ) from None

    def each() -> Iterator[tuple[bytes, int]]:
        for example in tfds.as_numpy(dataset):
            yield example[image], int(example[label])

    count = count if limit is None else min(count, limit)
    labels = builder.info.features[label].names
    return Pictures(name, split, labels, count, each)


def class_indices(labels: list[str], classes: int, name: str) -> np.ndarray:
    """Which of a network's classes each label is.

    Args:
        labels: Names of a data set's classes. WordNet ids (`"n01440764"`) are
            looked up among ImageNet's 1,000; others are taken in their order.
        classes: How many classes the network tells apart.
        name: What the network is called.

    Raises:
        ValueError: If they are not the same classes.
    """
    named = keras_resnext.decode_predictions(np.eye(1000), top=1)
    imagenet = {wnid: index for index, ((wnid, _, _),) in enumerate(named)}
    if classes == len(imagenet) and imagenet.keys() >= set(labels):
        return np.array([imagenet[label] for label in labels])
    if len(labels) == classes:
        return np.arange(classes)
    unknown = [label for label in labels if label not in imagenet]
    raise ValueError(
        f"'{name}' tells {classes:,} classes apart, and the data set has "
        f"{len(labels):,}. They must be equally many, or ImageNet's 1,000 and "
        "named by their WordNet ids, such as n01440764"
        + (f", not {unknown[0]!r}." if unknown else ".")
    )


def batches(
    pictures: Pictures,
    transform: Callable[[PIL.Image.Image], np.ndarray],
    size: int,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of transformed pictures and of labels, made by threads.

    Raises:
        PictureError: If a picture can't be read.
    """
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        waiting: deque = deque()
        each = enumerate(pictures.each())
        try:
            while True:
                missing = AHEAD * size - len(waiting)
                for i, (content, label) in itertools.islice(each, missing):
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
    content: pathlib.Path | bytes,
    number: int,
    transform: Callable[[PIL.Image.Image], np.ndarray],
) -> np.ndarray:
    if isinstance(content, bytes):
        name, file = f"picture {number}", io.BytesIO(content)
    else:
        name, file = f"'{content}'", content
    try:
        with PIL.Image.open(file) as image:
            return transform(image)
    except PIL.UnidentifiedImageError:
        reason = "it is not a picture"
    # On damaged bytes Pillow raises whatever its decoders do.
    except Exception as error:
        reason = str(error)
    raise PictureError(f"Can't read {name}: {reason}.")
