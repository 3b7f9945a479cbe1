"""Files of Keras 3 and models: Keras opens a clean copy, never the file.

HDF5's own library crashes or hangs on damaged files.
"""

import contextlib
import errno
import math
import pathlib
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterable
from collections.abc import Iterator

import h5py
import keras

from keras_resnext.weights import keras_files
from keras_resnext.weights.fetch import first_line
from keras_resnext.weights.files import CheckpointError
from keras_resnext.weights.files import shown
from keras_resnext.weights.identify import HEAD
from keras_resnext.weights.identify import OUR_LAYERS
from keras_resnext.weights.keras_files import KerasTensors
from keras_resnext.weights.readers import open_checkpoint
from keras_resnext.weights.values import FLOATS
from keras_resnext.weights.values import check_dtype
from keras_resnext.weights.values import check_values


def assign(model: keras.Model, stored: KerasTensors) -> None:
    """Load the tensors of a file of Keras 3 into a model.

    Args:
        model: Any built model.
        stored: The tensors.

    Raises:
        CheckpointError: If the file can't be read or doesn't fit the model,
            which is then unchanged.
    """
    with _folder() as folder:
        before = folder / "before.weights.h5"
        clean = folder / "clean.weights.h5"
        with _saved(model, before) as own:
            _check_fit(stored, own, model.name)
            wanted = own.of_layers
            if stored.of_optimizer == own.of_optimizer:
                wanted |= own.of_optimizer.keys()
        _write(stored, clean, wanted)
        try:
            model.load_weights(clean)
            _check_values(model, stored.path)
        except Exception as error:
            model.load_weights(before)
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(
                f"'{stored.path}' does not fit the model '{model.name}': "
                f"{_reason(error)}."
            ) from error


def build(stored: KerasTensors) -> keras.Model:
    """Build the model of a `.keras` file, with its weights.

    Args:
        stored: The tensors in the file.

    Returns:
        The model, not compiled.

    Raises:
        CheckpointError: If the file can't be read.
    """
    path = stored.path
    with _folder() as folder:
        _write(stored, folder / keras_files.WEIGHTS, stored.of_layers)
        try:
            # Keras opens a folder of a .keras file's members like the file.
            keras_files.unpack(path, folder, keras_files.WEIGHTS.__ne__)
            model = keras.saving.load_model(folder, compile=False)
        # Damaged members, or a configuration that Keras can't open.
        except Exception as error:
            raise CheckpointError(
                f"Keras can't open '{path}': {_reason(error)}."
            ) from error
        with _saved(model, folder / "own.weights.h5") as own:
            _check_fit(stored, own, model.name)
        _check_values(model, path)
        return model


def _write(
    stored: KerasTensors, target: pathlib.Path, paths: Iterable[str]
) -> None:
    """Write tensors to a new file, as Keras itself does.

    Raises:
        CheckpointError: If a tensor can't be read, or is NaN or infinite.
        OSError: If the disk has too little space.
    """
    paths = sorted(paths)
    sizes = (stored[path].size * stored[path].dtype.itemsize for path in paths)
    _check_room(target, sum(sizes))
    with h5py.File(target, "w") as file:
        for path in paths:
            value = stored.read(path)
            dataset = file.create_dataset(path, data=value)
            if value.dtype.name == "bfloat16":
                dataset.attrs["dtype"] = "bfloat16"


def _check_room(path: pathlib.Path, size: int) -> None:
    """Refuse to fill a disk, as HDF5's library crashes on a full one.

    Raises:
        OSError: If the disk has too little space.
    """
    if shutil.disk_usage(path.parent).free < size + (1 << 20):
        raise OSError(
            errno.ENOSPC,
            f"Loading takes {size / 1e6:.0f} MB for a temporary file, more "
            "than the disk has free. Set TMPDIR to a folder of another",
            str(path.parent),
        )


def _check_fit(stored: KerasTensors, own: KerasTensors, model: str) -> None:
    """Compare the tensors of a file with a model's.

    Args:
        stored: The file's tensors, which may include layers before the model
            or a classifier that the model lacks.
        own: The model's weights, as Keras saved them.
        model: The model's name.

    Raises:
        CheckpointError: If weights are missing or unknown, or have other
            shapes or dtypes.
    """
    refused = f"'{stored.path}' does not fit the model '{model}': it"
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
            re.fullmatch(OUR_LAYERS, name)
            for name in {*stored.layers(path)} - names - {HEAD}
        )
    ]
    if more:
        raise CheckpointError(
            f"{refused} has {len(more)} more weights, such as "
            f"{stored.label(more[0])}."
        )
    for path in sorted(own.of_layers):
        wanted, found = own[path], stored[path]
        label = own.label(path)
        if wanted.shape != found.shape:
            raise CheckpointError(
                f"{refused} has the shape {found.shape} for {label}, which is "
                f"{wanted.shape} in the model."
            )
        if wanted.dtype.name in FLOATS:
            check_dtype(found.dtype, label, f"'{stored.path}'")
        elif found.dtype.name in FLOATS:
            raise CheckpointError(
                f"{refused} has {found.dtype} for {label}, which needs "
                f"{wanted.dtype}."
            )


def _place(path: str) -> str:
    """Return the path of the outermost layer that a weight is in."""
    return "/".join(path.split("/")[:2])


def _reason(error: Exception) -> str:
    return shown(first_line(error).rstrip(".: "))


@contextlib.contextmanager
def _folder() -> Iterator[pathlib.Path]:
    """Make a temporary folder, and silence Keras' warnings about skips."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield pathlib.Path(folder)


@contextlib.contextmanager
def _saved(model: keras.Model, path: pathlib.Path) -> Iterator[KerasTensors]:
    """Save a model's weights as Keras does, and open them."""
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.weights, *getattr(optimizer, "variables", [])]
    size = sum(math.prod(variable.shape) for variable in variables)
    _check_room(path, 4 * size)
    model.save_weights(path)
    if not variables:  # no file can be without
        yield KerasTensors(path, [], {}, archive=False)
        return
    with open_checkpoint(path) as contents:
        assert isinstance(contents.tensors, KerasTensors)
        yield contents.tensors


def _check_values(model: keras.Model, path: pathlib.Path) -> None:
    """Check the values that a model loaded from a file."""
    for variable in model.weights:
        if variable.dtype in FLOATS:
            layer, _, name = variable.path.rpartition("/")
            value = keras.ops.convert_to_numpy(variable.value)
            check_values(value, f"{name} of '{layer}'", f"'{path}'")
