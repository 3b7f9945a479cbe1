"""Image folders: one folder of images per class."""

import hashlib
import math
import os
import pathlib
import sys
from collections.abc import Callable
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import PIL.Image
import rich.progress

from keras_resnext.data.datasets import SPLITS
from keras_resnext.data.datasets import Dataset
from keras_resnext.data.datasets import IndexedSplit
from keras_resnext.data.datasets import partition

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
# Images of one size are decoded once and kept in memory, up to this total.
KEPT_BYTES = 2**29


def load_folder(
    folder: pathlib.Path, corrupt: str = "error", validation: bool = False
) -> Dataset:
    """Open a folder of images.

    Args:
        folder: Folder that contains `class/*.jpg`, or `train/class/*.jpg` and
            `validation/…` or `test/…`.
        corrupt: `"error"` or `"skip"`, for files that are not images.
        validation: Whether a tenth of the training images is set aside for
            validation where only a test set exists.

    Returns:
        A `Dataset`.

    Raises:
        ValueError: If the folder contains no labeled images.
    """
    roots = {name: folder / name for name in SPLITS}
    roots = {name: root for name, root in roots.items() if root.is_dir()}
    if "train" not in roots:
        roots = {"train": folder}
    labels = _labels(roots["train"])
    if len(labels) < 2:
        raise ValueError(
            f"'{folder}' must contain at least two folders of images, one per "
            "class, or folders named train and test that contain them."
        )
    found, identity, skipped = {}, {}, 0
    for name, root in roots.items():
        found[name], identity[name], damaged = _images(root, labels, corrupt)
        skipped += damaged
    empty = set(range(len(labels))) - set(found["train"].classes.tolist())
    if empty:
        first = roots["train"] / labels[min(empty)]
        raise ValueError(f"'{first}' contains no images.")
    splits = {}
    for purpose, (split, start, end) in partition(
        list(found), validation
    ).items():
        splits[purpose] = found[split]
        if end - start < 100:
            splits[purpose] = found[split].part(start, end)
        if not splits[purpose].count:
            raise ValueError(
                f"'{folder}' has too few images: none is left for {purpose}."
            )
    return Dataset(
        str(folder), labels, splits, skipped=skipped, identity=identity
    )


def load_labeled_images(
    folder: pathlib.Path, split: str | None
) -> tuple[IndexedSplit, list[str], str]:
    """Find the images of a folder for evaluation, without decoding them.

    Args:
        folder: Folder that contains `class/*.jpg` or `split/class/*.jpg`.
        split: Name of a folder in it; `None` for `"validation"`, or all of
            the folder if it contains no folder of that name.

    Returns:
        The images, in random order, the names of the classes and the name of
        the split, empty for the whole folder.

    Raises:
        ValueError: If the folder contains no labeled images.
    """
    root = folder / (split or "validation")
    if not root.is_dir():
        if split is not None:
            raise ValueError(f"'{folder}' contains no folder '{split}'.")
        root = folder
    labels, files = _labels(root), _files(root)
    if not files:
        raise ValueError(
            f"'{root}' must contain one folder of images for each class."
        )
    contents = np.array([str(file) for file in files])
    # In the order of classes, a part would not represent the whole.
    images = IndexedSplit(contents, _classes(files, labels))
    order = np.random.default_rng(0).permutation(images.count)
    images = IndexedSplit(images.contents[order], images.classes[order])
    return images, labels, "" if root == folder else root.name


def find_fault(dataset: Dataset) -> str | None:
    """Describe the image files that are missing or damaged, if any."""
    files = [
        pathlib.Path(content)
        for images in dataset.splits.values()
        if isinstance(images, IndexedSplit)
        and images.contents.dtype.kind == "U"
        for content in images.contents
    ]
    damaged = missing = [file for file in files if not file.is_file()]
    if not missing:
        sizes = _in_threads(_size, files, "Checking images")
        damaged = [
            file for file, size in zip(files, sizes, strict=True) if not size
        ]
    if not damaged:
        return None
    what = "is missing" if missing else "is not an image, or only a part of one"
    others = f", as are {len(damaged) - 1:,} others" if damaged[1:] else ""
    return f"'{damaged[0]}' {what}{others}."


def _labels(root: pathlib.Path) -> list[str]:
    return sorted(
        path.name
        for path in root.iterdir()
        if path.is_dir() and not path.name.startswith(".")
    )


def _files(root: pathlib.Path) -> list[pathlib.Path]:
    return sorted(
        file for file in root.glob("[!.]*/*") if file.suffix.lower() in SUFFIXES
    )


def _classes(files: list[pathlib.Path], labels: list[str]) -> np.ndarray:
    index = {label: i for i, label in enumerate(labels)}
    return np.array([index[file.parent.name] for file in files], np.int64)


def _images(
    root: pathlib.Path, labels: list[str], corrupt: str
) -> tuple[IndexedSplit, dict[str, Any], int]:
    """Return a folder's images, their identity and the count of other files."""
    files = _files(root)
    sizes = _in_threads(_size, files, f"Checking {root.name}")
    damaged = [f for f, size in zip(files, sizes, strict=True) if not size]
    if damaged and corrupt == "error":
        raise ValueError(
            f"'{damaged[0]}' is not an image, or only a part of one"
            + (f"; nor are {len(damaged) - 1:,} others" if damaged[1:] else "")
            + ". Such files are skipped with --corrupt skip (corrupt='skip')."
        )
    files = [file for file, size in zip(files, sizes, strict=True) if size]
    stray = [file for file in files if file.parent.name not in labels]
    if stray:
        raise ValueError(f"'{stray[0]}' is of a class without training images.")
    if not files:
        raise ValueError(
            f"'{root}' must contain one folder of images for each class. "
            f"Images end in {', '.join(SUFFIXES)}."
        )
    classes = _classes(files, labels)
    identity = {
        "counts": np.bincount(classes, minlength=len(labels)).tolist(),
        "sha256": _digest(files, root),
    }
    contents = np.array([str(file) for file in files])
    one_size = len(set(filter(None, sizes))) == 1
    if one_size and len(files) * 3 * math.prod(sizes[0] or ()) <= KEPT_BYTES:
        contents = np.stack(_in_threads(_pixels, files, f"Reading {root.name}"))
    return IndexedSplit(contents, classes), identity, len(damaged)


def _digest(files: list[pathlib.Path], root: pathlib.Path) -> str:
    """Return the digest of the names and sizes of files below a folder."""
    digest = hashlib.sha256()
    sizes = _in_threads(os.path.getsize, files, f"Listing {root.name}")
    for file, size in zip(files, sizes, strict=True):
        digest.update(os.fsencode(file.relative_to(root).as_posix()))
        digest.update(f"\0{size}\n".encode())
    return digest.hexdigest()


def _size(file: pathlib.Path) -> tuple[int, int] | None:
    """Return width and height of an image, `None` for a damaged file."""
    try:
        with PIL.Image.open(file) as image:
            size, kind = image.size, image.format
            # Verifies the checksums of PNG files, without decoding.
            image.verify()
        if kind == "JPEG" and not _has_end(file):
            return None
    # On damaged bytes Pillow raises whatever its decoders do.
    except Exception:
        return None
    return size


def _has_end(file: pathlib.Path) -> bool:
    with file.open("rb") as stream:
        stream.seek(-min(64, file.stat().st_size), os.SEEK_END)
        return b"\xff\xd9" in stream.read()


def _pixels(file: pathlib.Path) -> np.ndarray:
    with PIL.Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def _in_threads(work: Callable, items: Sequence, title: str) -> list:
    with ThreadPoolExecutor() as pool:
        return list(
            rich.progress.track(
                pool.map(work, items),
                title,
                len(items),
                transient=True,
                disable=not sys.stdout.isatty(),
            )
        )
