"""OpenVINO's intermediate representation, with float32 weights."""

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_resnext.exporting.base import Format
from keras_resnext.exporting.base import InferenceModel
from keras_resnext.exporting.saved_model import save_portable
from keras_resnext.exporting.torch import export_program


def load(path: pathlib.Path) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Load an OpenVINO folder, to compute in float32."""
    import openvino

    # By default many processors compute in bfloat16: faster, less exact.
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.compile_model(path / "model.xml", "CPU", exact)

    def predict(x: np.ndarray) -> dict[str, np.ndarray]:
        outputs = model(x)
        # Copies, as the next call writes into the same memory.
        return {y.any_name: np.array(outputs[y]) for y in model.outputs}

    return predict


def _write(model: InferenceModel, path: pathlib.Path) -> None:
    import openvino

    # The outputs already have their names, in no particular order.
    _save(model, openvino.convert_model(save_portable(model)), path)


def _write_with_torch(model: InferenceModel, path: pathlib.Path) -> None:
    import openvino

    converted = openvino.convert_model(export_program(model))
    shape = [size or -1 for size in model.input_spec.shape]
    converted.reshape([-1, *shape])
    names = sorted(model.wrapped.output)
    for port, name in zip(converted.outputs, names, strict=True):
        port.set_names({name})
    _save(model, converted, path)


def _save(model: InferenceModel, converted: Any, path: pathlib.Path) -> None:
    import openvino

    converted.inputs[0].set_names({model.input_spec.name})
    path.mkdir()
    # float16 weights, the default, would be another format.
    openvino.save_model(converted, path / "model.xml", compress_to_fp16=False)


FORMAT = Format(
    "openvino",
    "openvino",
    writers={"tensorflow": _write, "torch": _write_with_torch},
    packages={"tensorflow": ("openvino",), "torch": ("openvino",)},
    load=load,
)
