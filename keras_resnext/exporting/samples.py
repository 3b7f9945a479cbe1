"""Representative images of an export, and their classes where they are known.

Files are compared with the model on them, and quantized by them.
"""

import os
import pathlib
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from collections.abc import Set
from typing import Any
from typing import NamedTuple

import keras
import numpy as np

from keras_resnext.checks import check_type
from keras_resnext.exporting.input_spec import InputSpec

# Of a folder, which may be a whole dataset.
LIMIT = 1024
# More images would take long and show nothing new.
COMPARED = 64
CALIBRATING = 300


class Samples(NamedTuple):
    """Representative images.

    Args:
        images: Pixels as uint8, or the input of the model as float32.
        classes: Class indices, or `None`.
        max_drop: Largest loss of accuracy of a file, as a share, or `None`.
    """

    images: np.ndarray
    classes: np.ndarray | None
    max_drop: float | None

    @property
    def compared(self) -> np.ndarray:
        """Images that files are compared with the model on."""
        return self.images[: COMPARED if self.classes is None else None]

    @property
    def calibrating(self) -> np.ndarray:
        """Images that give the ranges of activations, spread over all."""
        return self.images[:: -(-len(self.images) // CALIBRATING)]


def read_samples(
    data: Any,
    input_spec: InputSpec,
    classes: int | None,
    name: str,
    max_drop: float | None = None,
) -> Samples | None:
    """Read representative images, if there are any.

    Args:
        data: See `export`.
        input_spec: Input of the files.
        classes: Number of classes of the model; `None` without a classifier.
        name: Name of the model.
        max_drop: See `max_accuracy_drop` of `export`.

    Raises:
        ValueError: If they have another shape or range, or other classes, or
            have no classes though the accuracy matters.
        OSError: If there is no such folder.
    """
    check_type("max_accuracy_drop", max_drop, float | None)
    if max_drop is not None and not 0 <= max_drop < 1:
        raise ValueError(
            "`max_accuracy_drop` must be a share, such as 0.01 for one image "
            f"in a hundred. Received: {max_drop!r}"
        )
    if isinstance(data, str | os.PathLike):
        data = _from_folder(pathlib.Path(data), input_spec, classes, name)
    images, labels = (None, None) if data is None else _stacked(data)
    if labels is None and max_drop is not None:
        raise ValueError(
            "`max_accuracy_drop` needs `representative_data` with classes: a "
            "pair of arrays, a dataset of pairs, or a folder of one folder "
            "per class."
        )
    if images is None:
        return None
    images = _checked(images, input_spec)
    if labels is None:
        return Samples(images, None, None)
    if labels.ndim == 2 and labels.shape[1] == classes:
        labels = labels.argmax(1)  # one-hot
    fits = labels.shape == (len(images),) and labels.dtype.kind in "ui"
    if not fits or labels.min() < 0 or labels.max() >= (classes or 0):
        found = f"{labels.dtype} of shape {labels.shape}"
        if fits:
            found = f"classes from {labels.min()} to {labels.max()}"
        raise ValueError(
            "The classes of `representative_data` must be whole numbers, one "
            f"for each of the {len(images)} images and one of the "
            f"{classes or 0} classes of '{name}'. Received: {found}"
        )
    return Samples(images, labels.astype("int64"), max_drop)


def _from_folder(
    folder: pathlib.Path,
    input_spec: InputSpec,
    classes: int | None,
    name: str,
) -> tuple[np.ndarray, ...]:
    """Read images of a folder, or of one folder per class."""
    from keras_resnext.data import evaluation
    from keras_resnext.data.datasets import IndexedSplit
    from keras_resnext.data.folders import SUFFIXES

    folder = folder.expanduser()
    if not input_spec.takes_images:
        raise ValueError(
            f"'{name}' takes {input_spec.channels} channels, which image files "
            "don't have. Pass `representative_data` as an array."
        )
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder '{folder}'.")
    flat = [str(x) for x in folder.iterdir() if x.suffix.lower() in SUFFIXES]
    if flat:
        split = IndexedSplit(np.sort(flat), np.zeros(len(flat), "int64"))
        images = evaluation.LabeledImages(name, "", [], split, LIMIT)
    else:
        images = evaluation.load_labeled(str(folder), limit=LIMIT)
    transform = input_spec.transform
    parts = evaluation.transformed(
        images, transform.pixels if input_spec.pixels else transform, 64
    )
    x, y = (np.concatenate(each) for each in zip(*parts, strict=True))
    if not input_spec.pixels and input_spec.data_format == "channels_first":
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    if classes is None or not images.labels:
        return (x,)
    return x, evaluation.class_indices(images.labels, classes, name)[y]


def _checked(x: np.ndarray, input_spec: InputSpec) -> np.ndarray:
    """Return images as the input of the files."""
    fits = x.ndim == 4 and all(
        size in (None, found)
        for size, found in zip(input_spec.shape, x.shape[1:], strict=True)
    )
    if not fits or not len(x):
        raise ValueError(
            "`representative_data` must be images of shape (count, "
            f"{', '.join(map(str, input_spec.shape))}). Received shape: "
            f"{x.shape}"
        )
    if x.dtype.kind not in "uif" or not np.isfinite(x).all():
        found = f"dtype {x.dtype}"
        if x.dtype.kind == "f":
            found = "NaN or infinity"
        raise ValueError(
            f"`representative_data` must be finite numbers. Received: {found}"
        )
    low, high = float(x.min()), float(x.max())
    if not input_spec.takes_pixels:
        if x.dtype.kind != "f" or max(-low, high) > 50:
            raise ValueError(
                "Without preprocessing `representative_data` must be floats, "
                "normalized as the model takes them. Received "
                f"{x.dtype} in [{low:.4g}, {high:.4g}]"
            )
        return x.astype("float32")
    if low < 0 or high > 255 or (x.dtype.kind == "f" and high <= 1):
        raise ValueError(
            "`representative_data` must be pixels in [0, 255]. Received "
            f"{x.dtype} in [{low:.4g}, {high:.4g}]"
        )
    return (
        np.round(x).astype("uint8")
        if input_spec.pixels
        else x.astype("float32")
    )


def _stacked(data: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Return images and classes as one array each."""
    whole = isinstance(data, tuple) and _has_classes(data)
    whole = whole or hasattr(data, "shape")
    if whole:
        data = [data]
    if not isinstance(data, Iterable) or isinstance(data, Mapping | Set):
        raise ValueError(
            "`representative_data` must be an array of images, or yield "
            f"images. Received: {type(data).__name__}"
        )
    pairs = [_pair(each) for each in data]
    images = [_array(x) for x, _ in pairs]
    if other := [pairs[i][0] for i, x in enumerate(images) if x.ndim < 3]:
        raise ValueError(
            "`representative_data` must be images, or pairs of images and "
            f"classes. Received: {type(other[0]).__name__}"
        )
    if not whole:
        images = [x[None] if x.ndim == 3 else x for x in images]
    if len({x.shape[1:] for x in images}) != 1:
        raise ValueError(
            "`representative_data` must be images of one shape, at least "
            f"one. Received {len(images)} of the shapes "
            f"{sorted({x.shape[1:] for x in images})}"
        )
    x = np.concatenate(images)
    if any(y is None for _, y in pairs):
        return x, None
    classes = [np.atleast_1d(_array(y)) for _, y in pairs]
    return x, np.concatenate(classes)


def _pair(batch: Any) -> tuple[Any, Any]:
    """Return images and classes, or `None`, of a batch as `fit` takes it.

    A third item, weights, is left out. PyTorch's loaders yield lists.
    """
    if not isinstance(batch, list | tuple):
        return batch, None
    if _has_classes(batch):
        return batch[0], batch[1]
    return (batch[0] if len(batch) == 1 else batch), None


def _has_classes(data: Sequence[Any]) -> bool:
    """Return whether data are images, their classes, and maybe weights."""
    return len(data) in (2, 3) and np.ndim(data[1]) <= 2 < np.ndim(data[0])


def _array(data: Any) -> np.ndarray:
    if hasattr(data, "detach"):
        data = data.detach().cpu()  # whatever the backend
    return (
        keras.ops.convert_to_numpy(data)
        if keras.ops.is_tensor(data)
        else np.asarray(data)
    )
