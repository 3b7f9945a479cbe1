"""Files that some candidates run, written before the measurements."""

import pathlib
import subprocess
from collections.abc import Sequence

import numpy as np

from examples.benchmark.candidates import FILES
from examples.benchmark.candidates import Candidate
from examples.benchmark.setting import Setting

FORMATS = {
    "saved_model:ours": "saved_model",
    "tflite:ours": "tflite",
    "tflite:ours:int8": "tflite_int8",
    "onnx:ours": "onnx",
    "onnx:ours:int8": "onnx_int8",
    "openvino:ours": "openvino",
    "openvino:ours:int8": "openvino_int8",
    "program:ours": "torch",
}


def makers(candidates: Sequence[Candidate]) -> dict[str, list[str]]:
    """Return the candidates that make files, and the forms of each."""
    needed: dict[str, list[str]] = {}
    for each in candidates:
        if each.form in FILES:
            maker, _, _ = FILES[each.form].partition("/")
            needed.setdefault(maker, []).append(each.form)
    return needed


def order(maker: str, forms: list[str], setting: Setting) -> None:
    """Write files in a separate process.

    Raises:
        RuntimeError: If it fails.
    """
    backend = "tensorflow" if maker == "tensorflow" else "torch"
    done = subprocess.run(
        setting.command("--maker", maker=maker, forms=forms),
        env=setting.environment(backend),
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"{done.returncode}"]
        raise RuntimeError(f"{', '.join(forms)} can't be exported: {lines[-1]}")


def make(maker: str, forms: list[str], setting: Setting) -> None:
    """Write files of some forms, in this process."""
    folder = pathlib.Path(setting.files, maker)
    if maker == "timm":
        folder.mkdir(parents=True)
        _export_timm(setting, folder / "model.onnx")
        return
    import keras

    import keras_resnext

    shape = (setting.size, setting.size, 3)
    keras.utils.set_random_seed(0)
    model = keras_resnext.get_model(
        setting.model,
        weights=None,
        input_shape=shape,
        classifier_activation=None,
    )
    # One class stands out, so that rounding in artifacts passes validation.
    model.layers[-1].bias.assign(np.eye(1, model.output_shape[-1])[0] * 100)
    keras_resnext.export(
        model,
        folder,
        [FORMATS[form] for form in forms],
        include_preprocessing=False,
        representative_data=np.random.default_rng(0)
        .random((16, *shape))
        .astype("float32"),
    )


def _export_timm(setting: Setting, path: pathlib.Path) -> None:
    """Export as timm's own script does, with a dynamic batch size."""
    import timm
    import torch

    model = timm.create_model(setting.model, exportable=True).eval()
    torch.onnx.export(
        model,
        (torch.zeros(2, 3, setting.size, setting.size),),
        path,
        dynamo=True,
        external_data=False,
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        verbose=False,
    )
