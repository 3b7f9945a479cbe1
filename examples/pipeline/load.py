"""Opens a data set: a folder of pictures, or one of TensorFlow Datasets."""

import contextlib
import hashlib
import io
import math
import os
import pathlib
import sys
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import PIL.Image
import rich.progress
import tensorflow_datasets as tfds

import keras_resnext
from pipeline.sources import Lookup
from pipeline.sources import Records
from pipeline.sources import Source

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
SPLITS = ("train", "validation", "test")
# Up to so many bytes of pixels are decoded once and kept.
KEPT_BYTES = 2**29


def load(
    name: str,
    data_dir: str | None = None,
    corrupt: str = "error",
    validate: bool = False,
) -> Source:
    """Opens a folder of pictures, or a data set by its name in TFDS.

    Args:
        name: A folder that holds `class/*.jpg`, or `train/class/*.jpg` and
            `validation/…` or `test/…`; or a name of TFDS.
        data_dir: Where TFDS keeps its files.
        corrupt: What a file that is no picture gets: `"error"`, or `"skip"`.
        validate: Whether a tenth of the training pictures is held out for
            validation where only a test set exists.

    Returns:
        A `Source`. Where there are training pictures only, a tenth of them
        is there for validation, and a tenth for the test.

    Raises:
        ValueError: If there is neither, or it holds no labelled pictures.
        OSError: If the data set can't be had, with what to do.
    """
    known = tfds.list_builders(with_community_datasets=False)
    if os.path.isdir(name) and name not in known:
        return _folder(pathlib.Path(name), corrupt, validate)
    return _tfds(name, data_dir, validate)


def _cuts(
    existing: Iterable[str], validate: bool
) -> dict[str, tuple[str, int, int]]:
    """From which split, and which per cent of it, each purpose is served."""
    held_out = [name for name in SPLITS[1:] if name in existing]
    if "train" not in existing:
        raise ValueError("The data set has no split named 'train'.")
    if len(held_out) == 1 and validate:
        return {
            "train": ("train", 0, 90),
            "validation": ("train", 90, 100),
            "test": (held_out[0], 0, 100),
        }
    if held_out:
        return {name: (name, 0, 100) for name in ("train", *held_out)}
    return {
        "train": ("train", 0, 80),
        "validation": ("train", 80, 90),
        "test": ("train", 90, 100),
    }


# Folders ---------------------------------------------------------------------


def _folder(folder: pathlib.Path, corrupt: str, validate: bool) -> Source:
    roots = {name: folder / name for name in SPLITS}
    roots = {name: root for name, root in roots.items() if root.is_dir()}
    if "train" not in roots:
        roots = {"train": folder}
    labels = sorted(
        path.name
        for path in roots["train"].iterdir()
        if path.is_dir() and not path.name.startswith(".")
    )
    if len(labels) < 2:
        raise ValueError(
            f"'{folder}' must hold two folders of pictures or more, one per "
            "class, or folders named train and test that do."
        )
    found, images, skipped = {}, {}, 0
    for name, root in roots.items():
        found[name], images[name], bad = _pictures(root, labels, corrupt)
        skipped += bad
    _require_every_class(found["train"], labels, roots["train"])
    splits = {}
    for purpose, (split, start, end) in _cuts(found, validate).items():
        splits[purpose] = found[split]
        if end - start < 100:
            splits[purpose] = found[split].part(start, end)
        if not splits[purpose].count:
            raise ValueError(
                f"'{folder}' has too few pictures: none is left for {purpose}."
            )
    return Source(str(folder), labels, splits, skipped=skipped, images=images)


def _pictures(
    root: pathlib.Path, labels: list[str], corrupt: str
) -> tuple[Lookup, dict[str, Any], int]:
    """A folder's pictures, their identity, and how many files are none."""
    files = sorted(
        file for file in root.glob("[!.]*/*") if file.suffix.lower() in SUFFIXES
    )
    sizes = _in_threads(_size, files, f"Looking at {root.name}")
    bad = [file for file, size in zip(files, sizes, strict=True) if not size]
    if bad and corrupt == "error":
        raise ValueError(
            f"'{bad[0]}' is not a picture, or only a part of one"
            + (f"; nor are {len(bad) - 1:,} others" if bad[1:] else "")
            + ". Such files are left out with --corrupt skip."
        )
    files = [file for file, size in zip(files, sizes, strict=True) if size]
    stray = [file for file in files if file.parent.name not in labels]
    if stray:
        raise ValueError(
            f"'{stray[0]}' is of a class without training pictures."
        )
    if not files:
        raise ValueError(
            f"'{root}' must hold one folder of pictures for each class. "
            f"Pictures end in {', '.join(SUFFIXES)}."
        )
    index = {label: i for i, label in enumerate(labels)}
    classes = np.array([index[file.parent.name] for file in files], np.int64)
    images = {
        "counts": np.bincount(classes, minlength=len(labels)).tolist(),
        "sha256": _digest(files, root),
    }
    contents = np.array([str(file) for file in files])
    one_size = len(set(filter(None, sizes))) == 1
    if one_size and len(files) * 3 * math.prod(sizes[0] or ()) <= KEPT_BYTES:
        contents = np.stack(_in_threads(_pixels, files, f"Reading {root.name}"))
    return Lookup(contents, classes), images, len(bad)


def _digest(files: list[pathlib.Path], root: pathlib.Path) -> str:
    """Digest of the names of files below a folder, and of their sizes."""
    digest = hashlib.sha256()
    sizes = _in_threads(os.path.getsize, files, f"Listing {root.name}")
    for file, size in zip(files, sizes, strict=True):
        digest.update(os.fsencode(file.relative_to(root).as_posix()))
        digest.update(f"\0{size}\n".encode())
    return digest.hexdigest()


def find_fault(source: Source) -> str | None:
    """Describe the image files that are missing or damaged by now, if any."""
    files = [
        pathlib.Path(content)
        for part in source.splits.values()
        if getattr(part, "contents", np.empty(0)).dtype.kind == "U"
        for content in part.contents
    ]
    damaged = missing = [file for file in files if not file.is_file()]
    if not missing:
        sizes = _in_threads(_size, files, "Looking for the fault")
        damaged = [
            file for file, size in zip(files, sizes, strict=True) if not size
        ]
    if not damaged:
        return None
    what = "is missing" if missing else "is not an image, or only a part of one"
    others = f", as are {len(damaged) - 1:,} others" if damaged[1:] else ""
    return f"'{damaged[0]}' {what}{others}."


def _require_every_class(
    pictures: Lookup, labels: list[str], root: pathlib.Path
) -> None:
    empty = set(range(len(labels))) - set(pictures.classes.tolist())
    if empty:
        raise ValueError(f"'{root / labels[min(empty)]}' holds no pictures.")


def _size(file: pathlib.Path) -> tuple[int, int] | None:
    """Width and height of a picture; nothing for what is none, or cut."""
    try:
        with PIL.Image.open(file) as image:
            size, kind = image.size, image.format
            # Checks the sums of PNG files, and decodes nothing.
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


# TensorFlow Datasets ---------------------------------------------------------


def open_builder(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder:
    """A data set of TFDS, which may have to be prepared yet.

    Raises:
        ValueError: If there is none of that name.
    """
    try:
        return tfds.builder(name, data_dir=data_dir)
    except ValueError:
        known = tfds.list_builders(with_community_datasets=False)
        raise ValueError(
            f"'{name}' is neither a folder nor a data set of TFDS."
            f"{keras_resnext.suggestions.did_you_mean(name, known)}"
        ) from None


def prepare(name: str, builder: tfds.core.DatasetBuilder) -> None:
    """Downloads a data set, unless it is on the disk already.

    Raises:
        OSError: If it can't be had, with what to do.
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
    # Every data set downloads with code of its own, and fails in its own way.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        how = builder.MANUAL_DOWNLOAD_INSTRUCTIONS
        if how:
            reason += (
                ". Its owner wants it fetched by hand, into "
                f"{pathlib.Path(builder._data_dir_root, 'downloads', 'manual')}"
                f": {' '.join(how.split())}"
            )
        raise OSError(f"Can't prepare '{name}': {reason}") from error


def _tfds(name: str, data_dir: str | None, validate: bool) -> Source:
    builder = open_builder(name, data_dir)
    keys = builder.info.supervised_keys or ()
    kinds = (tfds.features.Image, tfds.features.ClassLabel)
    if len(keys) != 2 or not all(
        isinstance(key, str) and isinstance(builder.info.features[key], kind)
        for key, kind in zip(keys, kinds, strict=True)
    ):
        raise ValueError(f"'{name}' does not hold pictures with one label.")
    prepare(name, builder)
    image, label = (builder.info.features[key] for key in keys)
    splits = {
        purpose: _tfds_part(builder, *cut, image.shape)
        for purpose, cut in _cuts(builder.info.splits, validate).items()
    }
    images = {"version": builder.info.full_name} | {
        split: found.num_examples
        for split, found in builder.info.splits.items()
    }
    return Source(
        name, label.names, splits, image.shape[-1] or 3, images=images
    )


def _tfds_part(
    builder: tfds.core.DatasetBuilder,
    split: str,
    start: int,
    end: int,
    shape: tuple[int | None, ...],
) -> Lookup | Records:
    part = split
    if end - start < 100:
        part = tfds.core.ReadInstruction(split, start, end, unit="%")
    records = Records(builder, part)
    if None in shape or math.prod(shape) * records.count > KEPT_BYTES:
        return records
    pictures, classes = tfds.as_numpy(
        builder.as_dataset(split=part, batch_size=-1, as_supervised=True)
    )
    return Lookup(pictures, classes.astype(np.int64))
