"""Export of a trained model to files for every runtime."""

import contextlib
import os
import pathlib
import subprocess
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import rich.console
import rich.progress

from keras_resnext import atomic_files
from keras_resnext.exporting.base import Format
from keras_resnext.exporting.base import InferenceModel
from keras_resnext.exporting.examples import script
from keras_resnext.exporting.formats import choose
from keras_resnext.exporting.input_spec import SYNTHETIC
from keras_resnext.exporting.input_spec import InputSpec
from keras_resnext.exporting.input_spec import check_images
from keras_resnext.exporting.input_spec import kind_of
from keras_resnext.exporting.input_spec import named_outputs
from keras_resnext.exporting.input_spec import structured
from keras_resnext.exporting.report import ExportedFile
from keras_resnext.exporting.report import ExportError
from keras_resnext.exporting.report import ExportReport
from keras_resnext.inference import check_ours
from keras_resnext.inference import optimize_for_inference
from keras_resnext.preprocessing import EvaluationTransform
from keras_resnext.resnext_model import get_data_config

# More images would take longer and show nothing new.
_COMPARED = 64
_BATCH = 16
# Least top-1 agreement of quantized weights.
_AGREEMENT = 0.9


def export(
    model: keras.Model,
    directory: str | os.PathLike[str],
    formats: Sequence[str] | None = None,
    include_preprocessing: bool = True,
    representative_data: Any = None,
    transform: EvaluationTransform | None = None,
    labels: Sequence[str] | None = None,
) -> ExportReport:
    """Export a model to files for other runtimes, and validate them.

    Batch normalization is folded first, see `optimize_for_inference`. Then
    each file is loaded by its own runtime, in a new process, and its outputs
    are compared with the model's. Either all files appear in the directory,
    or it is unchanged.

    | format | file | backends |
    | --- | --- | --- |
    | `saved_model` | `saved_model/` | TensorFlow, JAX |
    | `tflite` | `model.tflite` | TensorFlow |
    | `tflite_float16` | `model_float16.tflite` | TensorFlow |
    | `tflite_dynamic` | `model_dynamic.tflite` | TensorFlow |
    | `tflite_int8` | `model_int8.tflite` | TensorFlow |
    | `onnx` | `model.onnx` | TensorFlow, torch |
    | `openvino` | `openvino/model.xml`, `.bin` | TensorFlow, torch |
    | `torch` | `model.pt2` | torch |

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
        formats: Names of formats. `None` takes all that the backend and the
            installed packages can write, `tflite_int8` only with
            `representative_data`.
        include_preprocessing: Whether the files take `pixels`, uint8 of shape
            `(batch, height, width, channels)`. Otherwise they take the
            model's own `images`, float32 and, unless the model itself
            normalizes, normalized. The output is `probabilities`, `logits` or
            `features`; several outputs keep the model's names.
        representative_data: Images in the form of the files' input: an array,
            or an iterable of images or batches. Files are validated on the
            first 64; `tflite_int8` is calibrated on all. `None` validates on
            synthetic images.
        transform: Resize, crop and normalization of the model's images.
            `None` takes the model's own, see `get_data_config`; if it has
            none, ImageNet's mean and standard deviation, with a warning.
        labels: Names of the classes, in their order. `None` takes the
            model's; if it has none, with a warning.

    Returns:
        An `ExportReport` of each file's size, difference and speed.

    Raises:
        ValueError: If an argument is invalid, or the backend can't write a
            format.
        ImportError: If a format needs a package that isn't installed.
        ExportError: If a file doesn't run, or differs from the model by more
            than 1e-4 of the largest output (float32) or 1e-2 (float16), or,
            quantized, predicts another class for more than a tenth of the
            images.
        OSError: If the directory can't be written, such as on a full disk.

    Example:
    >>> model = keras_resnext.ResNeXt50(weights="imagenet")
    >>> report = keras_resnext.export(model, "resnext50", ["tflite", "onnx"])
    >>> print(report)
    """
    check_ours(model)
    backend = keras.backend.backend()
    _check_float32(model)
    input_spec = InputSpec.of_model(model, transform, include_preprocessing)
    with_images = representative_data is not None
    chosen = choose(formats, backend, with_images, None in input_spec.size)
    names = _labels(model, labels)
    images = (
        check_images(representative_data, input_spec) if with_images else None
    )

    directory = pathlib.Path(directory).expanduser()
    made_directory = not directory.exists()
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with atomic_files.staging(directory) as folder:
            staging, scratch = folder / "new", folder / "scratch"
            scratch.mkdir()
            rows = _export(
                model, chosen, input_spec, images, names, staging, scratch
            )
            report = ExportReport(
                model.name,
                backend,
                str(directory),
                SYNTHETIC if images is None else min(len(images), _COMPARED),
                images is None,
                tuple(rows),
            )
            _refuse_different(report)
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
    images: np.ndarray | None,
    names: list[str] | None,
    staging: pathlib.Path,
    scratch: pathlib.Path,
) -> list[ExportedFile]:
    """Write and validate each format."""
    batches = (
        [input_spec.synthesize(size) for size in input_spec.sizes]
        if images is None
        else [images[:_COMPARED]]
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

        def advance(to: str) -> None:
            progress.update(task, advance=1, description=to)

        expected = {
            f"{i}/{name}": y
            for i, x in enumerate(batches)
            for name, y in _outputs(
                model, input_spec.normalize(x) if input_spec.pixels else x
            ).items()
        }
        _check_finite(model, expected)
        folded = optimize_for_inference(model)
        inference_model = InferenceModel(
            folded, input_spec, images, names, scratch
        )
        examples = staging if input_spec.takes_images else scratch
        files: list[pathlib.Path] = []
        for format in formats:
            advance(f"writing {format.name}")
            path = staging / format.file
            format.write(inference_model, path)
            example = examples / f"run_{format.name}.py"
            example.write_text(script(format, inference_model), "utf-8")
            files += [example, path, scratch / f"{format.name}.npz"]
        advance("validating")
        _run(files, scratch / "inputs.npz")
        return [
            _compare(format, staging / format.file, scratch, expected)
            for format in formats
        ]


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


def _labels(
    model: keras.Model, labels: Sequence[str] | None
) -> list[str] | None:
    shapes = [output.shape for output in model.outputs]
    classes = shapes[0][1] if list(map(len, shapes)) == [2] else None
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
    if isinstance(labels, str) or len(labels) != classes:
        raise ValueError(
            f"`labels` must name the {classes} classes of '{model.name}'. "
            f"Received {len(labels)} names."
            if classes
            else f"'{model.name}' has no classes that `labels` could name."
        )
    if any(len(str(label).splitlines()) != 1 for label in labels):
        raise ValueError("Each of `labels` must be one line of text.")
    return [str(label) for label in labels]


def _outputs(model: keras.Model, x: np.ndarray) -> dict[str, np.ndarray]:
    """Return the outputs of a model itself, by name."""
    parts = []
    for start in range(0, len(x), _BATCH):
        batch = structured(model, x[start : start + _BATCH])
        parts.append(named_outputs(model, model.predict_on_batch(batch)))
    return {
        name: np.concatenate([np.asarray(part[name]) for part in parts])
        for name in parts[0]
    }


def _check_finite(model: keras.Model, outputs: dict[str, np.ndarray]) -> None:
    for key, y in outputs.items():
        if not np.isfinite(y).all():
            raise ExportError(
                f"'{model.name}' returns NaN or infinity as "
                f"{key.partition('/')[2]} for finite images. Nothing was "
                "written; check the weights for NaN or infinity."
            )


def _run(files: list[pathlib.Path], inputs: pathlib.Path) -> None:
    """Run files in a new process, as their examples do; see `validation`."""
    validation = pathlib.Path(__file__).with_name("validation.py")
    run = subprocess.run(
        # -P: the script's folder contains modules named like runtimes.
        [sys.executable, "-P", validation, inputs, *files],
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    if run.returncode:
        lines = run.stderr.strip().splitlines() or [f"{run.returncode}"]
        missing = [path.stem for path in files[2::3] if not path.exists()]
        name = missing[0] if missing else files[-1].stem
        raise ExportError(f"'{name}' was written but does not run: {lines[-1]}")


def _compare(
    format: Format,
    path: pathlib.Path,
    scratch: pathlib.Path,
    expected: dict[str, np.ndarray],
) -> ExportedFile:
    """Compare a file's outputs with the model's."""
    with np.load(scratch / f"{format.name}.npz") as file:
        found = {key: file[key] for key in expected if key in file}
        latency, throughput = float(file["latency"]), float(file["throughput"])
    difference, agreement = 0.0, 1.0
    for key, right in expected.items():
        if key not in found or found[key].shape != right.shape:
            raise ExportError(
                f"'{format.name}' returns {_shapes(found)}, not "
                f"{_shapes(expected)}."
            )
        share = np.abs(found[key] - right).max() / np.abs(right).max()
        same = np.mean(found[key].argmax(-1) == right.argmax(-1))
        # NaN counts as the largest.
        difference = float(np.fmax(difference, share) + 0 * share)
        agreement = min(agreement, float(same))
    ok = (
        bool(np.isfinite(difference)) and agreement >= _AGREEMENT
        if format.tolerance is None
        else difference <= format.tolerance
    )
    files = [path] if path.is_file() else path.rglob("*")
    return ExportedFile(
        format=format.name,
        path=format.file,
        bytes=sum(file.stat().st_size for file in files if file.is_file()),
        difference=difference,
        agreement=agreement,
        latency_ms=1000 * latency,
        images_per_second=throughput,
        ok=ok,
    )


def _shapes(outputs: dict[str, np.ndarray]) -> str:
    named = (f"{key.partition('/')[2]} {y.shape}" for key, y in outputs.items())
    return ", ".join(named) or "no such output"


def _refuse_different(report: ExportReport) -> None:
    bad = [row for row in report.rows if not row.ok]
    if bad:
        found = "; ".join(
            f"'{row.format}' differs by {row.difference:.1e} of the largest "
            f"output and agrees on {row.agreement:.1%} of the classes"
            for row in bad
        )
        raise ExportError(
            f"{found}. Nothing was written; omit these formats.", report
        )
