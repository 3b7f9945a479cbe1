"""Opens Keras 3 files, and loads them into models."""

import contextlib
import math
import pathlib
import tempfile
import warnings
from collections.abc import Iterator

import keras

from keras_resnext.weights import keras_files
from keras_resnext.weights.fetch import first_line
from keras_resnext.weights.files import CheckpointError
from keras_resnext.weights.files import shown
from keras_resnext.weights.values import FLOATS
from keras_resnext.weights.values import check_values


def load_keras_file(model: keras.Model, path: pathlib.Path) -> None:
    """Load a `.weights.h5` or `.keras` file into a model.

    Args:
        model: Any built model.
        path: The file.

    Raises:
        CheckpointError: If the file can't be read or doesn't fit the model,
            which is then left as it was.
    """
    with keras_files.open_weights(path) as stored, _folder() as folder:
        before = folder / "before.weights.h5"
        clean = folder / "clean.weights.h5"
        with _saved(model, before) as own:
            keras_files.check_fit(stored, own, model.name)
            wanted = own.of_layers
            if stored.of_optimizer == own.of_optimizer:
                wanted |= own.of_optimizer.keys()
        stored.write(clean, wanted)
        try:
            model.load_weights(clean)
            _check_values(model, path)
        except Exception as error:
            model.load_weights(before)
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(
                f"'{path}' does not fit the model '{model.name}': "
                f"{_reason(error)}."
            ) from error


def open_model(path: pathlib.Path) -> keras.Model:
    """Open a `.keras` file: the architecture and its weights.

    Args:
        path: The file.

    Returns:
        The model, not compiled.

    Raises:
        CheckpointError: If the file can't be read.
    """
    with keras_files.open_weights(path) as stored, _folder() as folder:
        # Keras opens a folder of a .keras file's members as it does the file.
        keras_files.unpack(path, folder, keras_files.WEIGHTS.__ne__)
        stored.write(folder / keras_files.WEIGHTS, stored.of_layers)
        try:
            model = keras.saving.load_model(folder, compile=False)
        # A file's own configuration may make Keras stumble over anything.
        except Exception as error:
            raise CheckpointError(
                f"Keras can't open '{path}': {_reason(error)}."
            ) from error
        with _saved(model, folder / "own.weights.h5") as own:
            keras_files.check_fit(stored, own, model.name)
        _check_values(model, path)
        return model


def _reason(error: Exception) -> str:
    return shown(first_line(error).rstrip(".: "))


@contextlib.contextmanager
def _folder() -> Iterator[pathlib.Path]:
    """A folder for a while, in which Keras says nothing on what it skips."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield pathlib.Path(folder)


@contextlib.contextmanager
def _saved(
    model: keras.Model, path: pathlib.Path
) -> Iterator[keras_files.StoredWeights]:
    """Save a model's weights as Keras does, and open them."""
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.weights, *getattr(optimizer, "variables", [])]
    size = sum(math.prod(variable.shape) for variable in variables)
    keras_files.check_room(path, 4 * size)
    model.save_weights(path)
    with keras_files.open_weights(path) as own:
        yield own


def _check_values(model: keras.Model, path: pathlib.Path) -> None:
    """Check the values that a file left in a model."""
    for variable in model.weights:
        if variable.dtype in FLOATS:
            layer, _, name = variable.path.rpartition("/")
            value = keras.ops.convert_to_numpy(variable.value)
            check_values(value, f"{name} of '{layer}'", f"'{path}'")
