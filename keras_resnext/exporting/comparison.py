"""Comparison of exported files with the model, in a process of their own."""

import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence

import keras
import numpy as np

from keras_resnext.exporting.base import Format
from keras_resnext.exporting.input_spec import InputSpec
from keras_resnext.exporting.input_spec import named_outputs
from keras_resnext.exporting.input_spec import structured
from keras_resnext.exporting.report import ExportedFile
from keras_resnext.exporting.report import ExportError
from keras_resnext.exporting.report import ExportReport
from keras_resnext.exporting.report import sha256_of
from keras_resnext.exporting.samples import Samples

_BATCH = 16
# Least top-1 agreement of quantized weights.
_AGREEMENT = 0.9

# Arrays by the number of the batch and the name of the output.
Outputs = dict[str, np.ndarray]


def outputs(
    model: keras.Model, input_spec: InputSpec, batches: Sequence[np.ndarray]
) -> Outputs:
    """Return the outputs of a model itself.

    Args:
        model: The model.
        input_spec: Input of the files.
        batches: Images as the input of the files.

    Raises:
        ExportError: If they are not finite.
    """
    found = {
        f"{i}/{name}": y
        for i, x in enumerate(batches)
        for name, y in _predict(
            model, input_spec.normalize(x) if input_spec.pixels else x
        ).items()
    }
    for key, y in found.items():
        if not np.isfinite(y).all():
            raise ExportError(
                f"'{model.name}' returns NaN or infinity as "
                f"{key.partition('/')[2]} for finite images. Nothing was "
                "written; check the weights for NaN or infinity."
            )
    return found


def run(files: Sequence[pathlib.Path], inputs: pathlib.Path) -> None:
    """Run files in a new process, as their examples do; see `validation`.

    Args:
        files: For each format its example script, its file, and the file to
            write outputs to.
        inputs: File of the images.

    Raises:
        ExportError: If one does not run.
    """
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


def compare(
    format: Format,
    path: pathlib.Path,
    scratch: pathlib.Path,
    expected: Outputs,
    samples: Samples | None,
) -> ExportedFile:
    """Compare the outputs of a file with the model's.

    Args:
        format: The format.
        path: The file.
        scratch: Folder of the file's outputs.
        expected: The model's outputs.
        samples: Representative images.

    Raises:
        ExportError: If they have other names or shapes.
    """
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
    its, own = accuracy(found, samples), accuracy(expected, samples)
    drop = 0.0 if its is None or own is None else own - its
    ok = (
        bool(np.isfinite(difference)) and agreement >= _AGREEMENT
        if format.tolerance is None
        else difference <= format.tolerance
    )
    if samples is not None and samples.max_drop is not None:
        # As whole images, which floats of shares are not.
        ok = ok and round(drop - samples.max_drop, 9) <= 0
    files = [path] if path.is_file() else path.rglob("*")
    return ExportedFile(
        format=format.name,
        path=format.file,
        bytes=sum(file.stat().st_size for file in files if file.is_file()),
        sha256=sha256_of(path),
        difference=difference,
        agreement=agreement,
        accuracy=its,
        latency_ms=1000 * latency,
        images_per_second=throughput,
        ok=ok,
    )


def accuracy(found: Outputs, samples: Samples | None) -> float | None:
    """Return the share of images whose class is right, if that is known."""
    if samples is None or samples.classes is None:
        return None
    (scores,) = found.values()
    return float(np.mean(scores.argmax(-1) == samples.classes))


def refuse_different(report: ExportReport) -> None:
    """Refuse files that differ too much.

    Raises:
        ExportError: If there are any.
    """
    bad = [row for row in report.rows if not row.ok]
    if not bad:
        return
    found = "; ".join(
        f"'{row.format}' differs by {row.difference:.1e} of the largest "
        f"output and agrees on {row.agreement:.1%} of the classes"
        + (
            ""
            if row.accuracy is None
            else f", its accuracy is {row.accuracy:.2%} and the model's "
            f"{report.accuracy:.2%}"
        )
        for row in bad
    )
    advice = "omit these formats"
    if any(row.format.endswith("_int8") for row in bad):
        advice += (
            ", or pass more `representative_data`, about 300 images like "
            "those of the application; openvino_int8 with `max_accuracy_drop` "
            "keeps layers in float32 until it is met"
        )
    raise ExportError(f"{found}. Nothing was written; {advice}.", report)


def _predict(model: keras.Model, x: np.ndarray) -> dict[str, np.ndarray]:
    parts = []
    for start in range(0, len(x), _BATCH):
        batch = structured(model, x[start : start + _BATCH])
        parts.append(named_outputs(model, model.predict_on_batch(batch)))
    return {
        name: np.concatenate([np.asarray(part[name]) for part in parts])
        for name in parts[0]
    }


def _shapes(outputs: Outputs) -> str:
    named = (f"{key.partition('/')[2]} {y.shape}" for key, y in outputs.items())
    return ", ".join(named) or "no such output"
