"""Keras 3 files: their weights, checked, and a clean copy for Keras.

HDF5's own library crashes on damaged files or never returns from them, deaf to
signals. Keras is therefore never given a file: the weights are read without
that library, checked, and written anew.
"""

import contextlib
import errno
import os
import pathlib
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import dataclass

import h5py
import numpy as np

from keras_resnext.weights import convert
from keras_resnext.weights.files import CheckpointError
from keras_resnext.weights.files import check_inflation
from keras_resnext.weights.files import shown
from keras_resnext.weights.hdf5 import Dataset
from keras_resnext.weights.hdf5 import Object
from keras_resnext.weights.hdf5 import check_sizes
from keras_resnext.weights.hdf5 import dataset
from keras_resnext.weights.hdf5 import open_h5
from keras_resnext.weights.values import FLOATS
from keras_resnext.weights.values import check_dtype
from keras_resnext.weights.values import check_values

SUFFIXES = (".weights.h5", ".keras")
WEIGHTS = "model.weights.h5"  # inside a .keras file
_MAX_PATH = 1024
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def is_keras_file(path: str | os.PathLike[str]) -> bool:
    """Tell files of Keras 3 by their ending, or under any name by content."""
    file = pathlib.Path(path)
    if not file.is_file():
        return False
    if file.name.endswith(SUFFIXES):
        return True
    with contextlib.suppress(Exception):  # whatever a parser raises
        if _is_archive(file):
            with zipfile.ZipFile(file) as archive:
                return WEIGHTS in archive.namelist()
        with open_h5(file) as root:
            legacy = root.names("layer_names") or "model_weights" in root.links
            return not legacy and bool({"layers", "vars"} & root.links.keys())
    return False


def _is_archive(path: pathlib.Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\3\4"


@dataclass(frozen=True)
class StoredWeights:
    """The weights in an open file.

    Args:
        file: The file.
        datasets: Weights by path, `"layers/conv2d/vars/0"`.
        names: Names of layers by path, `"layers/conv2d"`.
    """

    file: pathlib.Path
    datasets: dict[str, Dataset]
    names: dict[str, str]

    @property
    def of_layers(self) -> set[str]:
        """Paths of all weights but the optimizer's."""
        return {p for p in self.datasets if not p.startswith("optimizer/")}

    @property
    def of_optimizer(self) -> dict[str, tuple]:
        """Shapes of the optimizer's variables by path."""
        paths = self.datasets.keys() - self.of_layers
        return {path: self.datasets[path].shape for path in paths}

    def layers(self, path: str) -> list[str]:
        """Names of the layers that a weight is in, from the outermost."""
        parts = path.split("/")
        groups = ("/".join(parts[:end]) for end in range(1, len(parts)))
        return [self.names[group] for group in groups if group in self.names]

    def label(self, path: str) -> str:
        """Describe a weight: `"weight 0 of 'stem_conv1'"`."""
        group, _, index = path.partition("/vars/")
        layer = "/".join(self.layers(path)) or group
        return f"weight {shown(index)} of '{shown(layer)}'"

    def read(self, path: str) -> np.ndarray:
        """Read a weight.

        Raises:
            CheckpointError: If it can't be read, or is NaN or infinite.
        """
        with _reading(self.file):
            value = self.datasets[path].read()
        if value.dtype.name in FLOATS:
            check_values(value, self.label(path), f"'{self.file}'")
        return value

    def write(self, target: pathlib.Path, paths: Iterable[str]) -> None:
        """Write weights to a new file, as Keras itself does.

        Raises:
            CheckpointError: If a weight can't be read, or is NaN or infinite.
            OSError: If there is no room.
        """
        paths = sorted(paths)
        check_room(target, sum(self.datasets[path].nbytes for path in paths))
        with h5py.File(target, "w") as file:
            for path in paths:
                value = self.read(path)
                stored = file.create_dataset(path, data=value)
                if value.dtype.name == "bfloat16":
                    stored.attrs["dtype"] = "bfloat16"


@contextlib.contextmanager
def open_weights(path: str | os.PathLike[str]) -> Iterator[StoredWeights]:
    """Open the weights of a `.weights.h5` or `.keras` file.

    Raises:
        CheckpointError: If the file can't be read.
    """
    path = file = pathlib.Path(path)
    with contextlib.ExitStack() as stack:
        with _reading(path):
            if path.suffix == ".keras" or _is_archive(path):
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                unpack(path, folder, WEIGHTS.__eq__)
                file = pathlib.Path(folder, WEIGHTS)
                if not file.exists():
                    raise CheckpointError(f"holds no {WEIGHTS}")
            weights = StoredWeights(path, {}, {})
            _walk(stack.enter_context(open_h5(file)), weights)
            check_sizes(weights.datasets.values(), file)
        yield weights


def unpack(
    path: pathlib.Path,
    folder: str | os.PathLike[str],
    wanted: Callable[[str], bool],
) -> None:
    """Unpack members of a `.keras` file, which have checksums."""
    with _reading(path), zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        check_inflation((member.file_size for member in members), path)
        for member in members:
            if member.compress_type not in _PACKINGS:
                raise CheckpointError("is packed as Keras packs no file")
            if wanted(member.filename):
                archive.extract(member, folder)


def check_room(path: pathlib.Path, size: int) -> None:
    """Refuse to fill a disk, as HDF5's library crashes on a full one.

    Raises:
        OSError: If there is no room.
    """
    if shutil.disk_usage(path.parent).free < size + (1 << 20):
        raise OSError(
            errno.ENOSPC,
            f"Loading takes {size / 1e6:.0f} MB for a temporary file, more "
            "than the disk has free. Set TMPDIR to a folder of another",
            str(path.parent),
        )


def check_fit(stored: StoredWeights, own: StoredWeights, model: str) -> None:
    """Compare the weights of a file with a model's.

    Args:
        stored: The file's weights, perhaps of layers before the model too, or
            of a classifier that the model lacks.
        own: The model's weights, as Keras saved them.
        model: The model's name.

    Raises:
        CheckpointError: If weights are missing, or more, or of other shapes
            or dtypes.
    """
    refused = f"'{stored.file}' does not fit the model '{model}': it"
    missing = sorted(own.of_layers - stored.of_layers)
    if missing:
        raise CheckpointError(
            f"{refused} lacks {len(missing)} of {len(own.of_layers)} weights, "
            f"such as {own.label(missing[0])}."
        )
    places = {_place(path) for path in own.of_layers}
    names = {name for path in own.of_layers for name in own.layers(path)}
    more = [
        path
        for path in sorted(stored.of_layers - own.of_layers)
        if _place(path) in places
        or any(
            re.fullmatch(convert.OUR_LAYERS, name)
            for name in {*stored.layers(path)} - names - {convert.HEAD}
        )
    ]
    if more:
        raise CheckpointError(
            f"{refused} has {len(more)} weights more, such as "
            f"{stored.label(more[0])}."
        )
    for path in sorted(own.of_layers):
        wanted, found = own.datasets[path], stored.datasets[path]
        label = own.label(path)
        if wanted.shape != found.shape:
            raise CheckpointError(
                f"{refused} has the shape {found.shape} for {label}, which is "
                f"{wanted.shape} in the model."
            )
        if wanted.dtype.name in FLOATS:
            check_dtype(found.dtype, label, f"'{stored.file}'")
        elif found.dtype.name in FLOATS:
            raise CheckpointError(
                f"{refused} has {found.dtype} for {label}, which needs "
                f"{wanted.dtype}."
            )


def _place(path: str) -> str:
    """The path of the outermost layer that a weight is in."""
    return "/".join(path.split("/")[:2])


@contextlib.contextmanager
def _reading(path: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except CheckpointError as error:
        if str(error).endswith("."):  # names the file already
            raise
        raise CheckpointError(f"'{path}' {error}.") from error.__cause__
    except Exception as error:  # on damaged bytes a parser raises anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise CheckpointError(
            f"'{path}' can't be read as a file of Keras 3 ({shown(reason)}); "
            "it is damaged, or of another kind."
        ) from error


def _walk(root: Object, weights: StoredWeights) -> None:
    """Find all datasets and the layers' names."""
    groups = [("", root)]
    for path, group in groups:
        for name in group.links:
            below = f"{path}/{name}".removeprefix("/")
            odd = name in ("", ".", "..") or "/" in name
            if odd or len(below) > _MAX_PATH:
                raise CheckpointError(f"has a group of the name {name[:50]!r}")
            child = group.child(name)
            if not child.is_group:
                weights.datasets[below] = dataset(below, child)
                continue
            groups.append((below, child))
            for layer in child.names("name")[:1] if name == "vars" else []:
                weights.names[path] = layer
