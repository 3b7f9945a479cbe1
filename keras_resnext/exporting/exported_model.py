"""Exported files as functions of images, whatever their runtime."""

import functools
import json
import os
import pathlib

import numpy as np
import PIL.Image

from keras_resnext.checks import PATH
from keras_resnext.checks import check_type
from keras_resnext.exporting.base import Predict
from keras_resnext.exporting.formats import FORMATS
from keras_resnext.exporting.input_spec import InputSpec
from keras_resnext.exporting.report import sha256_of
from keras_resnext.preprocessing import EvaluationTransform

# Names that identify a format without a report.
_MARKS = {
    ".tflite": "tflite",
    ".onnx": "onnx",
    ".pt2": "torch",
    "saved_model.pb": "saved_model",
    "model.xml": "openvino",
}


class ExportedModel:
    """Exported file, loaded into its runtime: a function of images.

    Made by `load_exported`.

    Args:
        path: The file or folder.
        format: Name of its format.
        predict: Function from a batch to outputs by name.
        input_spec: Its input; `None` without `report.json`.
        labels: Names of the classes; `None` without `labels.txt`.

    Example:
    >>> model = keras_resnext.ResNeXt50(weights="imagenet")
    >>> report = keras_resnext.export(model, "deployed", ["tflite"])
    >>> exported = keras_resnext.load_exported("deployed")
    >>> exported(image).shape
    (1, 1000)
    """

    def __init__(
        self,
        path: pathlib.Path,
        format: str,
        predict: Predict,
        input_spec: InputSpec | None = None,
        labels: tuple[str, ...] | None = None,
    ) -> None:
        self.path = path
        self.format = format
        self.labels = labels
        self._predict = predict
        self._input_spec = input_spec

    @property
    def transform(self) -> EvaluationTransform:
        """Transform from an image to an input of the file.

        Raises:
            ValueError: If there is no `report.json`, or the input is no image.
        """
        if self._input_spec is None:
            raise ValueError(
                f"There is no report.json beside '{self.path}', which says how "
                "images are prepared. Pass arrays as the file takes them."
            )
        if not self._input_spec.takes_images:
            raise ValueError(
                f"'{self.path}' takes {self._input_spec.channels} channels, "
                "which are not images. Pass arrays."
            )
        return self._input_spec.transform

    @functools.cached_property
    def classes(self) -> int:
        """Number of classes.

        Raises:
            ValueError: If the output is not one score per class.
        """
        outputs = self([PIL.Image.new("RGB", (32, 32))])
        if isinstance(outputs, dict) or outputs.ndim != 2:
            raise ValueError(f"'{self.path}' does not end in a classifier.")
        return outputs.shape[1]

    def __call__(
        self, images: np.ndarray | PIL.Image.Image | list[PIL.Image.Image]
    ) -> np.ndarray | dict[str, np.ndarray]:
        """Compute the outputs for a batch.

        Args:
            images: One or several PIL images, which are resized and cropped;
                or pixels, uint8 of shape `(batch, height, width, channels)`;
                or, if the file was exported without preprocessing, its
                float32 input.

        Returns:
            The output, such as probabilities of shape `(batch, classes)`; a
            dictionary if there are several.

        Raises:
            ValueError: If the images have another shape or dtype.
        """
        if isinstance(images, PIL.Image.Image):
            images = [images]
        if isinstance(images, list):
            if not images:
                raise ValueError("`images` is an empty list.")
            pixels = self.transform.pixels
            images = np.stack([pixels(image) for image in images])
        images = np.asarray(images)
        if self._input_spec is not None:
            images = _as_input(images, self._input_spec)
        outputs = self._predict(images)
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))


def load_exported(
    path: str | os.PathLike[str], threads: int | None = None
) -> ExportedModel:
    """Load an exported file into its runtime.

    Args:
        path: A file or folder that `export` wrote, such as
            `"deployed/model.tflite"`, or its directory if it contains only
            one. `report.json` and `labels.txt` beside it are read.
        threads: Number of threads; `None` takes the runtime's default. In
            TensorFlow and PyTorch it applies to the whole process.

    Returns:
        An `ExportedModel`, a function from images to NumPy arrays.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If it is not an exported file or damaged, the directory
            contains several, or `threads` comes after TensorFlow's first
            computation.
        ImportError: If the runtime isn't installed.

    Example:
    >>> model = keras_resnext.ResNeXt50(weights="imagenet")
    >>> report = keras_resnext.export(model, "deployed", ["tflite"])
    >>> exported = keras_resnext.load_exported("deployed")
    >>> exported(pixels.astype("uint8")).shape
    (1, 1000)
    """
    check_type("path", path, PATH)
    check_type("threads", threads, int | None)
    file = pathlib.Path(path).expanduser()
    if not file.exists():
        raise FileNotFoundError(f"There is no file or folder '{file}'.")
    most = os.cpu_count() or 1
    if threads is not None and not 1 <= threads <= most:
        raise ValueError(
            f"`threads` must be from 1 to {most}, the number of processors. "
            f"Received: {threads}"
        )
    if file.is_dir() and _format_of(file) is None:
        names = _read_report(file) or sorted(
            each.name for each in file.iterdir() if _format_of(each)
        )
        files = [file / name for name in names]
        if len(files) > 1:
            raise ValueError(
                f"'{file}' contains {len(files)} exported files. Name one: "
                f"{', '.join(map(repr, map(str, files)))}"
            )
        file = files[0] if files else file
    # Beside the files of an earlier export there is the report of the last.
    format, input_spec, sha256 = _read_report(file.parent).get(
        file.name, (_format_of(file), None, None)
    )
    if format is None:
        raise ValueError(
            f"'{file}' is not an exported file: it must be or contain one of "
            f"{', '.join(_MARKS)}."
        )
    # TFLite ends the process with a segmentation fault at a file cut short.
    if sha256 not in (None, sha256_of(file)):
        raise ValueError(
            f"'{file}' is damaged, or was changed after its export: its "
            "SHA-256 is not that of report.json. Export again."
        )
    try:
        predict = FORMATS[format].load(file, threads)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"'{file}' needs {error.name}: pip install {error.name}"
        ) from error
    # Each runtime has errors of its own.
    except Exception as error:
        reason = " ".join(str(error).split()[:30]) or type(error).__name__
        raise ValueError(f"'{file}' can't be loaded: {reason}") from error
    labels = _read_labels(file.with_name("labels.txt"))
    return ExportedModel(file, format, predict, input_spec, labels)


def _read_labels(file: pathlib.Path) -> tuple[str, ...] | None:
    if not file.exists():
        return None
    try:
        return tuple(file.read_text("utf-8").splitlines())
    except UnicodeDecodeError:
        raise ValueError(f"'{file}' is not text in UTF-8.") from None


def _read_report(
    folder: pathlib.Path,
) -> dict[str, tuple[str, InputSpec, str]]:
    """Return format, input and SHA-256 of each file that a report lists."""
    file = folder / "report.json"
    if not file.exists():
        return {}
    try:
        report = json.loads(file.read_text("utf-8"))
        input_spec = InputSpec.from_dict(report["input"])
        return {
            row["path"]: (row["format"], input_spec, row["sha256"])
            for row in report["rows"]
            if (folder / row["path"]).exists()
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ValueError(
            f"'{file}' is not the report of an export. Export again."
        ) from None


def _format_of(path: pathlib.Path) -> str | None:
    """Return the format that the name or the files of a path indicate."""
    names = [path.suffix]
    if path.is_dir():
        names = [each.name for each in path.iterdir()]
    return next((_MARKS[name] for name in names if name in _MARKS), None)


def _as_input(images: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Return images as the input of a file: pixels are normalized."""
    if images.dtype == "uint8" and images.ndim == 4 and not spec.pixels:
        images = spec.normalize(images)
    dtype = "uint8" if spec.pixels else "float32"
    fits = images.ndim == 4 and all(
        size in (None, found)
        for size, found in zip(spec.shape, images.shape[1:], strict=True)
    )
    if not fits or images.dtype != dtype:
        shape = ", ".join(str(size or "any") for size in spec.shape)
        raise ValueError(
            f"The file takes {spec.name} of dtype {dtype} and shape (batch, "
            f"{shape}). Received: {images.dtype} of shape {images.shape}"
        )
    return images
