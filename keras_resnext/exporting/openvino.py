"""OpenVINO's intermediate representation, in float32 and in 8 bits."""

import functools
import pathlib
from collections.abc import Callable
from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_resnext.exporting.base import Format
from keras_resnext.exporting.base import InferenceModel
from keras_resnext.exporting.saved_model import save_portable
from keras_resnext.exporting.torch import export_program


def load(
    path: pathlib.Path, threads: int | None = None
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Load an OpenVINO folder, to compute in float32."""
    import openvino

    # By default many processors compute in bfloat16: faster, less exact.
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = str(threads)
    model = openvino.compile_model(path / "model.xml", "CPU", options)

    def predict(x: np.ndarray) -> dict[str, np.ndarray]:
        outputs = model(x)
        # Copies, as the next call writes into the same memory.
        return {y.any_name: np.array(outputs[y]) for y in model.outputs}

    return predict


def _convert(model: InferenceModel) -> Any:
    import openvino

    # The outputs already have their names, in no particular order.
    return openvino.convert_model(save_portable(model))


def _convert_with_torch(model: InferenceModel) -> Any:
    import openvino

    converted = openvino.convert_model(export_program(model))
    shape = [size or -1 for size in model.input_spec.shape]
    converted.reshape([-1, *shape])
    names = sorted(model.wrapped.output)
    for port, name in zip(converted.outputs, names, strict=True):
        port.set_names({name})
    return converted


def _quantize(model: InferenceModel, converted: Any) -> Any:
    """Quantize weights and activations by NNCF, as representative images ask.

    Where the loss of accuracy is limited, layers are quantized only as far as
    that allows.
    """
    import nncf

    assert model.samples is not None
    images, classes, max_drop = model.samples
    calibrating = model.samples.calibrating[:, None]
    calibration = nncf.Dataset(list(calibrating))
    options = {
        # Activations that are not symmetric, such as SiLU's, use all values.
        "preset": nncf.QuantizationPreset.MIXED,
        "subset_size": len(calibrating),
    }
    if max_drop is None or classes is None:
        return nncf.quantize(converted, calibration, **options)

    def accuracy(run: Any, pairs: Iterable[Any]) -> tuple[float, list[float]]:
        right = [
            float(np.argmax(run(image)[run.output(0)][0]) == true)
            for image, true in pairs
        ]
        return float(np.mean(right)), right

    return nncf.quantize_with_accuracy_control(
        converted,
        calibration,
        nncf.Dataset(
            list(zip(images[:, None], classes, strict=True)),
            lambda pair: pair[0],
        ),
        accuracy,
        max_drop=max_drop,
        **options,
    )


def _write(
    model: InferenceModel,
    path: pathlib.Path,
    convert: Callable[[InferenceModel], Any],
    quantized: bool,
) -> None:
    import openvino

    converted = convert(model)
    converted.inputs[0].set_names({model.input_spec.name})
    if quantized:
        converted = _quantize(model, converted)
    path.mkdir()
    # float16 weights, the default, would be another format.
    openvino.save_model(converted, path / "model.xml", compress_to_fp16=False)


FORMATS = tuple(
    Format(
        name,
        name,
        writers={
            backend: functools.partial(
                _write, convert=convert, quantized=quantized
            )
            for backend, convert in (
                ("tensorflow", _convert),
                ("torch", _convert_with_torch),
            )
        },
        packages=dict.fromkeys(("tensorflow", "torch"), packages),
        load=load,
        tolerance=None if quantized else 1e-4,
        needs_images=quantized,
    )
    for name, quantized, packages in (
        ("openvino", False, ("openvino",)),
        ("openvino_int8", True, ("openvino", "nncf")),
    )
)
