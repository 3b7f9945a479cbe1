"""Export of a trained model to files for every runtime."""

import contextlib
import os
import pathlib
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import rich.console
import rich.progress

from keras_resnext import atomic_files
from keras_resnext.checks import PATH
from keras_resnext.checks import check_labels
from keras_resnext.checks import check_type
from keras_resnext.exporting import comparison
from keras_resnext.exporting import conversion
from keras_resnext.exporting.base import Format
from keras_resnext.exporting.base import InferenceModel
from keras_resnext.exporting.examples import script
from keras_resnext.exporting.formats import choose
from keras_resnext.exporting.input_spec import InputSpec
from keras_resnext.exporting.input_spec import kind_of
from keras_resnext.exporting.report import ExportReport
from keras_resnext.exporting.samples import Samples
from keras_resnext.exporting.samples import read_samples
from keras_resnext.inference import check_ours
from keras_resnext.inference import optimize_for_inference
from keras_resnext.preprocessing import EvaluationTransform
from keras_resnext.resnext_model import get_data_config


def export(
    model: keras.Model,
    directory: str | os.PathLike[str],
    formats: Sequence[str] | None = None,
    include_preprocessing: bool = True,
    representative_data: Any = None,
    transform: EvaluationTransform | None = None,
    labels: Sequence[str] | None = None,
    max_accuracy_drop: float | None = None,
) -> ExportReport:
    """Export a model to files for other runtimes, and validate them.

    Batch normalization is folded first, see `optimize_for_inference`. Then
    each file is loaded by its own runtime, in a new process, and its outputs
    are compared with the model's. Either all files appear in the directory,
    or it is unchanged.

    | format | file | written by |
    | --- | --- | --- |
    | `saved_model` | `saved_model/` | TensorFlow, JAX |
    | `tflite` | `model.tflite` | TensorFlow |
    | `tflite_float16` | `model_float16.tflite` | TensorFlow |
    | `tflite_dynamic` | `model_dynamic.tflite` | TensorFlow |
    | `tflite_int8` | `model_int8.tflite` | TensorFlow |
    | `onnx` | `model.onnx` | TensorFlow, torch |
    | `onnx_int8` | `model_int8.onnx` | TensorFlow, torch |
    | `openvino` | `openvino/model.xml`, `.bin` | TensorFlow, torch |
    | `openvino_int8` | `openvino_int8/model.xml`, `.bin` | TensorFlow, torch |
    | `torch` | `model.pt2` | torch |

    Each format is written from each backend: what the backend in use can't
    write, another one that is installed converts in a process of its own.

    Beside them there are `report.json`, `labels.txt` if the names of the
    classes are known, and for each format, if images are RGB or gray, a
    script `run_<format>.py` that runs it on an image, resized and cropped
    exactly as by `evaluation_transform`.

    Args:
        model: A float32 model built here, or one that contains such a model,
            after augmentation and preprocessing and before any head. It is
            exported for inference; preprocessing that the model contains is
            not repeated. Images are its only input. It may have several
            outputs, and, except for TFLite, take images of any size.
        directory: Folder to write to, created if missing. Files of the names
            above are replaced.
        formats: Names of formats. `None` takes all that the installed
            packages can write, 8-bit formats only with
            `representative_data`.
        include_preprocessing: Whether the files take `pixels`, uint8 of shape
            `(batch, height, width, channels)`. Otherwise they take the
            model's own `images`, float32 and, unless the model itself
            normalizes, normalized. The output is `probabilities`, `logits` or
            `features`; several outputs keep the model's names.
        representative_data: Images in the form of the files' input: an array,
            or an iterable of images or batches, such as a dataset; alone, or
            in pairs with their classes (indices or one-hot). Or the path of a
            folder of images, or of one folder per class, of which at most
            1,024 images are read. Files are validated on the first 64, or,
            with classes, on all; 8-bit formats are calibrated on 300 of them.
            `None` validates on synthetic images.
        transform: Resize, crop and normalization of the model's images.
            `None` takes the model's own, see `get_data_config`; if it has
            none, ImageNet's mean and standard deviation, with a warning.
        labels: Names of the classes, in their order. `None` takes the
            model's; if it has none, with a warning.
        max_accuracy_drop: Largest drop of a file's accuracy, as a share of the
            images: 0.01 for one percentage point. `openvino_int8` keeps layers
            in float32 until it is met; files of other formats are refused.
            Needs `representative_data` with classes.

    Returns:
        An `ExportReport` of each file's size, difference and speed.

    Raises:
        ValueError: If an argument is invalid.
        ImportError: If a format needs a package that isn't installed.
        ExportError: If a file doesn't run, or differs from the model by more
            than 1e-4 of the largest output (float32) or 1e-2 (float16), or,
            quantized, predicts another class for more than a tenth of the
            images, or loses more accuracy than it may.
        OSError: If the directory can't be written, such as on a full disk.

    Example:
    >>> model = keras_resnext.ResNeXt50(weights="imagenet")
    >>> report = keras_resnext.export(model, "resnext50", ["tflite", "onnx"])
    >>> print(report)
    """
    check_ours(model)
    check_type("directory", directory, PATH)
    check_type("transform", transform, EvaluationTransform | None)
    backend = keras.backend.backend()
    _check_float32(model)
    input_spec = InputSpec.of_model(model, transform, include_preprocessing)
    with_images = representative_data is not None
    chosen = choose(formats, backend, with_images, None in input_spec.size)
    names = _labels(model, labels)
    samples = read_samples(
        representative_data,
        input_spec,
        _classes(model),
        model.name,
        max_accuracy_drop,
    )

    directory = pathlib.Path(directory).expanduser()
    if directory.exists() and not directory.is_dir():
        raise NotADirectoryError(f"'{directory}' is not a folder.")
    made_directory = not directory.exists()
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with atomic_files.staging(directory) as folder:
            staging = folder / "new"
            report = _export(
                model, chosen, input_spec, samples, names, directory, folder
            )
            comparison.refuse_different(report)
            if names is not None:
                (staging / "labels.txt").write_text(
                    "".join(f"{label}\n" for label in names), encoding="utf-8"
                )
            report.write(staging / "report.json")
            atomic_files.publish(folder)
    except BaseException:
        if made_directory:
            # Unless another process has written to it meanwhile.
            with contextlib.suppress(OSError):
                directory.rmdir()
        raise
    return report


def _export(
    model: keras.Model,
    formats: list[Format],
    input_spec: InputSpec,
    samples: Samples | None,
    names: list[str] | None,
    directory: pathlib.Path,
    folder: pathlib.Path,
) -> ExportReport:
    """Write and validate each format, in a folder that is yet to publish."""
    staging, scratch = folder / "new", folder / "scratch"
    scratch.mkdir()
    batches = (
        [input_spec.synthesize(size) for size in input_spec.sizes]
        if samples is None
        else [samples.compared]
    )
    inputs: dict[str, Any] = {str(i): x for i, x in enumerate(batches)}
    np.savez(scratch / "inputs.npz", **inputs)
    console = rich.console.Console(stderr=True)
    with rich.progress.Progress(
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task("folding", total=2 + len(formats))

        expected = comparison.outputs(model, input_spec, batches)
        folded = optimize_for_inference(model)
        inference_model = InferenceModel(
            folded, input_spec, samples, names, scratch
        )

        def begin(name: str) -> None:
            progress.update(task, advance=1, description=f"writing {name}")

        for writer, theirs in _by_writer(formats).items():
            if writer == keras.backend.backend():
                for format in theirs:
                    begin(format.name)
                    format.write(inference_model, staging / format.file)
            else:
                progress.update(task, description=f"starting {writer}")
                conversion.write(
                    inference_model, theirs, writer, staging, begin
                )
        examples = staging if input_spec.takes_images else scratch
        files: list[pathlib.Path] = []
        for format in formats:
            example = examples / f"run_{format.name}.py"
            example.write_text(script(format, inference_model), "utf-8")
            files += [
                example,
                staging / format.file,
                scratch / f"{format.name}.npz",
            ]
        progress.update(task, advance=1, description="validating")
        comparison.run(files, scratch / "inputs.npz")
        rows = (
            comparison.compare(
                format, staging / format.file, scratch, expected, samples
            )
            for format in formats
        )
        return ExportReport(
            model=model.name,
            backend=keras.backend.backend(),
            directory=str(directory),
            images=len(batches[0]),
            synthetic=samples is None,
            accuracy=comparison.accuracy(expected, samples),
            input=input_spec,
            rows=tuple(rows),
        )


def _by_writer(formats: Sequence[Format]) -> dict[str, list[Format]]:
    """Return the formats by the backends that write them, ours first."""
    backend = keras.backend.backend()
    found: dict[str, list[Format]] = {backend: []}
    for format in formats:
        found.setdefault(format.writer(backend), []).append(format)
    return found


def _check_float32(model: keras.Model) -> None:
    policies = {
        layer.dtype_policy.name
        for layer in model._flatten_layers(include_self=False)
        if layer.weights
    }
    if policies != {"float32"}:
        raise ValueError(
            f"'{model.name}' computes in {', '.join(sorted(policies))}, but "
            "only float32 is exported: first call keras_resnext."
            "optimize_for_inference(model, 'float32'), or export the model "
            "from before `quantize`."
        )


def _classes(model: keras.Model) -> int | None:
    """Return the number of classes, if the only output are they."""
    shapes = [output.shape for output in model.outputs]
    return shapes[0][1] if list(map(len, shapes)) == [2] else None


def _labels(
    model: keras.Model, labels: Sequence[str] | None
) -> list[str] | None:
    classes = _classes(model)
    if labels is None:
        found = get_data_config(model).labels
        if (
            found is None
            and classes is not None
            and kind_of(model) != "features"
        ):
            warnings.warn(
                f"The names of the {classes} classes of '{model.name}' are "
                "unknown, so no labels.txt is written. Pass "
                "`labels`, or set it on the model: "
                "keras_resnext.set_data_config(model, labels=[...]).",
                UserWarning,
                stacklevel=3,
            )
        return None if found is None else list(found)
    if classes is None:
        raise ValueError(
            f"'{model.name}' has no classes that `labels` could name."
        )
    return list(check_labels(labels, classes, model.name))
