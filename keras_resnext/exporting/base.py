"""Base of the export formats: their properties, functions and input."""

import contextlib
import functools
import importlib.util
import logging
import os
import pathlib
import sys
import warnings
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field

import keras
import numpy as np

from keras_resnext.exporting.input_spec import InputSpec
from keras_resnext.exporting.report import ExportError
from keras_resnext.exporting.samples import Samples

Predict = Callable[[np.ndarray], dict[str, np.ndarray]]
Load = Callable[[pathlib.Path, int | None], Predict]


@dataclass(frozen=True)
class InferenceModel:
    """Folded model that is written to files.

    Args:
        folded: The model without preprocessing.
        input_spec: Input of the files.
        samples: Representative images to quantize with, or `None`.
        labels: Names of the classes, or `None`.
        scratch: Folder for temporary files.
    """

    folded: keras.Model
    input_spec: InputSpec
    samples: Samples | None
    labels: list[str] | None
    scratch: pathlib.Path

    @functools.cached_property
    def wrapped(self) -> keras.Model:
        """Model with normalization in front, and named outputs."""
        return self.input_spec.wrap(self.folded, "uint8")


@dataclass(frozen=True)
class Format:
    """File format.

    Args:
        name: Name of the format.
        file: Name of the file or folder.
        writers: For each backend that can write the format, a function of a
            model and the path of the new file or folder. Other backends
            leave the writing to the first of these that is installed.
        load: Function from a path and a number of threads to a function from
            a batch of images to outputs by name. Its source is copied into
            scripts that don't import this package: it may use `np`,
            `pathlib`, `Callable` and its own imports.
        packages: For each backend, modules that writing and running need.
        tolerance: Largest difference of an output, as a share of the largest
            output. `None` for quantized weights: their most probable class
            must stay the same for most images.
        any_size: Whether files can contain models for images of any size.
        needs_images: Whether writing needs representative images.
    """

    name: str
    file: str
    writers: dict[str, Callable[[InferenceModel, pathlib.Path], None]]
    load: Load
    packages: dict[str, tuple[str, ...]] = field(default_factory=dict)
    tolerance: float | None = 1e-4
    any_size: bool = True
    needs_images: bool = False

    def writer(self, backend: str) -> str:
        """Return the backend that writes the files of a backend's models."""
        able = [name for name in self.writers if _is_installed(name)]
        return backend if backend in self.writers else [*able, *self.writers][0]

    def missing(self, backend: str) -> list[str]:
        """Return the packages that aren't installed."""
        writer = self.writer(backend)
        needed = self.packages.get(writer, ())
        if writer != backend:
            needed = (writer, *needed)
        return [name for name in needed if not _is_installed(name)]

    def write(self, model: InferenceModel, path: pathlib.Path) -> None:
        """Write a model to a new file or folder, silently.

        Raises:
            ExportError: If it can't be converted.
        """
        try:
            with _quiet():
                self.writers[keras.backend.backend()](model, path)
        except (MemoryError, OSError):
            raise
        except Exception as error:
            # The first line is the reason; the others are a stack trace.
            reason = (str(error).strip() or repr(error)).splitlines()[0]
            raise ExportError(
                f"'{self.name}' can't be written: {reason}"
            ) from error


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence converters, which print up to fifty lines."""
    # Some add a log handler for the current standard error.
    handlers = logging.root.handlers[:]
    sys.stderr.flush()
    errors = os.dup(2)
    with (
        warnings.catch_warnings(),
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        warnings.simplefilter("ignore")
        os.dup2(nowhere.fileno(), 2)  # for what is written in C++
        try:
            yield
        finally:
            os.dup2(errors, 2)
            os.close(errors)
            logging.root.handlers[:] = handlers
