"""One call from a trained network to files for every runtime."""

import contextlib
import os
import pathlib
import subprocess
import sys
import warnings
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import rich.console
import rich.progress

from keras_resnext import atomic_files
from keras_resnext.exporting import formats as known
from keras_resnext.exporting.entrance import DRAWN
from keras_resnext.exporting.entrance import Entrance
from keras_resnext.exporting.entrance import checked
from keras_resnext.exporting.entrance import entrance
from keras_resnext.exporting.entrance import kind_of
from keras_resnext.exporting.entrance import named_outputs
from keras_resnext.exporting.entrance import structured
from keras_resnext.exporting.formats import Format
from keras_resnext.exporting.report import ExportedFile
from keras_resnext.exporting.report import ExportError
from keras_resnext.exporting.report import ExportReport
from keras_resnext.exporting.snippets import snippet
from keras_resnext.exporting.writers import Writer
from keras_resnext.inference import check_ours
from keras_resnext.inference import optimize_for_inference
from keras_resnext.preprocessing import EvaluationTransform
from keras_resnext.resnext_model import get_data_config

# More pictures than these would take long without saying more.
_COMPARED = 64
_BATCH = 16


def export(
    model: keras.Model,
    directory: str | os.PathLike[str],
    formats: Sequence[str] | None = None,
    include_preprocessing: bool = True,
    representative_data: Any = None,
    transform: EvaluationTransform | None = None,
    labels: Sequence[str] | None = None,
) -> ExportReport:
    """Writes a network for other runtimes, and proves that it's the same.

    Batch normalization is folded away first, see `optimize_for_inference`.
    Then every artefact is loaded by its own runtime, in a fresh process, and
    what it puts out is compared with what the model does. All formats appear
    in the directory, or none: until all are found good, what was there stays.

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
    script `run_<format>.py` that says what a picture shows.

    Args:
        model: A float32 model built here, or one that contains such a model,
            behind augmentation and preprocessing and before any head. It is
            exported for inference, as it is: what it does to its images
            itself is not done again. Its images are its only input; it may
            have several outputs, and be open for images of any size, which
            TFLite is not.
        directory: Where to; made if need be. What is there under the names
            above is replaced.
        formats: Some of the names above. `None` takes all that the backend
            and the installed packages can write, `tflite_int8` only with
            `representative_data`.
        include_preprocessing: Whether the files take `pixels`, uint8 of shape
            `(batch, height, width, channels)`. Otherwise they take the
            model's own `images`, float32 and, unless the model itself does
            that, normalized. Outputs are `probabilities`, `logits` or
            `features`, or have the names that the model gives several.
        representative_data: Pictures as the artefacts take them: an array, or
            something that yields pictures or batches of them. Artefacts are
            compared on the first 64, and `tflite_int8` measures on all of
            them which numbers occur in the network. `None` compares on drawn
            pictures.
        transform: How the model's images are resized, cropped and
            normalized. `None` takes what the model knows, see
            `get_data_config`; if it knows nothing, ImageNet's mean and
            standard deviation, with a warning.
        labels: Names of the classes, in their order. `None` takes those that
            the model knows; if it knows none, there is a warning.

    Returns:
        An `ExportReport` of each artefact's size, difference and speed.

    Raises:
        ValueError: If an argument is none of these, or the backend can't
            write a format.
        ImportError: If a format needs a package that isn't installed.
        ExportError: If an artefact doesn't run, or differs from the model by
            more than 1e-4 of the largest output (float32) or 1e-2 (float16),
            or, quantized, names another class for more than a tenth of the
            pictures.
        OSError: If the directory can't be written, such as on a full disk.

    Example:
    >>> model = keras_resnext.ResNeXt50(weights="imagenet")
    >>> report = keras_resnext.export(model, "resnext50", ["tflite", "onnx"])
    >>> print(report)
    """
    check_ours(model)
    backend = keras.backend.backend()
    with_data = representative_data is not None
    wanted = known.chosen(formats, backend, with_data)
    _check_float32(model)
    door = entrance(model, transform, include_preprocessing)
    if None in door.size:
        wanted = known.of_any_size(wanted, formats is not None)
    names = _labels(model, labels)
    given = checked(representative_data, door) if with_data else None

    directory = pathlib.Path(directory).expanduser()
    made_directory = not directory.exists()
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with atomic_files.staging(directory) as folder:
            staging, scratch = folder / "new", folder / "scratch"
            scratch.mkdir()
            rows = _made(model, wanted, door, given, names, staging, scratch)
            report = ExportReport(
                model.name,
                backend,
                str(directory),
                DRAWN if given is None else min(len(given), _COMPARED),
                given is None,
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
            # Unless another process has written there by now.
            with contextlib.suppress(OSError):
                directory.rmdir()
        raise
    return report


def _made(
    model: keras.Model,
    wanted: list[Format],
    door: Entrance,
    given: np.ndarray | None,
    names: list[str] | None,
    staging: pathlib.Path,
    scratch: pathlib.Path,
) -> Iterator[ExportedFile]:
    """Writes every format, and compares it."""
    batches = (
        [door.drawn(size) for size in door.sizes]
        if given is None
        else [given[:_COMPARED]]
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
        task = progress.add_task("folding", total=1 + 2 * len(wanted))

        def go_on(to: str) -> None:
            progress.update(task, advance=1, description=to)

        expected = {
            f"{i}/{name}": y
            for i, x in enumerate(batches)
            for name, y in _outputs(
                model, door.normalized(x) if door.pixels else x
            ).items()
        }
        _check_finite(model, expected)
        folded = optimize_for_inference(model)
        writer = Writer(folded, door, given, scratch)
        classifies = set(writer.wrapped.output) & {"probabilities", "logits"}
        for each in wanted:
            path = staging / each.file
            go_on(f"writing {each.name}")
            _write(writer, each, path)
            go_on(f"checking {each.name}")
            yield _row(each, path, scratch, expected)
            if door.channels in (1, 3):
                text = snippet(each, door, bool(classifies), bool(names))
                (staging / f"run_{each.name}.py").write_text(text, "utf-8")


def _check_float32(model: keras.Model) -> None:
    policies = {
        layer.dtype_policy.name
        for layer in model._flatten_layers(include_self=False)
        if layer.weights
    }
    if policies != {"float32"}:
        raise ValueError(
            f"'{model.name}' computes in {', '.join(sorted(policies))}, and "
            "only float32 is exported: first call keras_resnext."
            "optimize_for_inference(model, 'float32'), or export the model as "
            "it was before `quantize`."
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
                f"Nothing tells the names of the {classes} classes of "
                f"'{model.name}', so that no labels.txt is written. Pass "
                "`labels`, or let the model know: "
                "keras_resnext.set_data_config(model, labels=[...]).",
                UserWarning,
                stacklevel=3,
            )
        return None if found is None else list(found)
    if isinstance(labels, str) or len(labels) != classes:
        raise ValueError(
            f"`labels` must name the {classes} classes of '{model.name}'. "
            f"Received {len(labels)} of them."
            if classes
            else f"'{model.name}' has no classes that `labels` could name."
        )
    if any(len(str(label).splitlines()) != 1 for label in labels):
        raise ValueError("Each of `labels` must be one line of text.")
    return [str(label) for label in labels]


def _outputs(model: keras.Model, x: np.ndarray) -> dict[str, np.ndarray]:
    """Return what a model itself makes of what it takes, by names."""
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
                f"{key.partition('/')[2]} of finite images. Nothing was "
                "written; look for such weights."
            )


def _write(writer: Writer, each: Format, path: pathlib.Path) -> None:
    try:
        writer.write(each.name, path)
    except (MemoryError, OSError):
        raise
    except Exception as error:
        # The first line says what; fifty more name the converter's functions.
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise ExportError(
            f"'{each.name}' can't be written: {reason}"
        ) from error


def _row(
    each: Format,
    path: pathlib.Path,
    scratch: pathlib.Path,
    expected: dict[str, np.ndarray],
) -> ExportedFile:
    """Runs an artefact elsewhere, and compares it."""
    outputs = scratch / "outputs.npz"
    probe = pathlib.Path(__file__).with_name("probe.py")
    run = subprocess.run(
        # Without the folder of the script, whose modules have common names.
        [
            *(sys.executable, "-P", probe, each.runtime, path),
            *(scratch / "inputs.npz", outputs),
        ],
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    if run.returncode:
        lines = run.stderr.strip().splitlines() or [f"{run.returncode}"]
        raise ExportError(
            f"'{each.name}' was written but doesn't run: {lines[-1]}"
        )
    with np.load(outputs) as file:
        found = {key: file[key] for key in expected if key in file}
        latency, throughput = float(file["latency"]), float(file["throughput"])
    difference, agreement = 0.0, 1.0
    for key, right in expected.items():
        if key not in found or found[key].shape != right.shape:
            raise ExportError(
                f"'{each.name}' returns {_shapes(found)}, not "
                f"{_shapes(expected)}."
            )
        share = np.abs(found[key] - right).max() / np.abs(right).max()
        same = np.mean(found[key].argmax(-1) == right.argmax(-1))
        # A NaN is the largest of all.
        difference = float(np.fmax(difference, share) + 0 * share)
        agreement = min(agreement, float(same))
    ok = (
        bool(np.isfinite(difference)) and agreement >= known.AGREEMENT
        if each.tolerance is None
        else difference <= each.tolerance
    )
    files = [path] if path.is_file() else path.rglob("*")
    return ExportedFile(
        format=each.name,
        path=each.file,
        bytes=sum(file.stat().st_size for file in files if file.is_file()),
        difference=difference,
        agreement=agreement,
        latency_ms=1000 * latency,
        images_per_second=throughput,
        ok=ok,
    )


def _shapes(outputs: dict[str, np.ndarray]) -> str:
    named = (f"{key.partition('/')[2]} {y.shape}" for key, y in outputs.items())
    return ", ".join(named) or "nothing of that name"


def _refuse_different(report: ExportReport) -> None:
    bad = [row for row in report.rows if not row.ok]
    if bad:
        found = "; ".join(
            f"'{row.format}' differs by {row.difference:.1e} of the largest "
            f"output and agrees on {row.agreement:.1%} of the classes"
            for row in bad
        )
        raise ExportError(
            f"{found}. Nothing was written; leave such formats out.", report
        )
