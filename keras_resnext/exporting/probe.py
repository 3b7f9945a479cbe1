"""Runs an artefact in its own runtime, and says what it puts out, how fast.

A script for a fresh process: it knows nothing of Keras.

    python probe.py RUNTIME ARTEFACT INPUTS.npz OUTPUTS.npz

Inputs are batches "0", "1", … of images; outputs are "0/name", …
"""

import os
import pathlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

BATCH = 32

Predict = Callable[[np.ndarray], dict[str, np.ndarray]]


def main(runtime: str, artefact: str, inputs: str, outputs: str) -> None:
    """Runs the script."""
    predict = LOADERS[runtime](pathlib.Path(artefact))
    found: dict[str, Any] = {}
    with np.load(inputs) as file:
        batches = dict(file)
    for key, x in batches.items():
        parts = [
            predict(x[start : start + BATCH])
            for start in range(0, len(x), BATCH)
        ]
        for name in parts[0]:
            whole = [np.asarray(part[name]) for part in parts]
            found[f"{key}/{name}"] = np.concatenate(whole)
    many = np.resize(batches["0"], (BATCH, *batches["0"].shape[1:]))
    np.savez(
        outputs,
        **found,
        latency=median_time(predict, many[:1], runs=15, seconds=2),
        throughput=BATCH / median_time(predict, many, runs=3, seconds=6),
    )


def median_time(
    predict: Predict, x: np.ndarray, runs: int, seconds: float
) -> float:
    """Seconds of a call, after a first one that doesn't count."""
    predict(x)
    times: list[float] = []
    while len(times) < runs and sum(times) < seconds:
        start = time.perf_counter()
        predict(x)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def saved_model(path: pathlib.Path) -> Predict:
    """TensorFlow's own."""
    import tensorflow as tf

    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    _, inputs = signature.structured_input_signature
    (entry,) = inputs

    def predict(x: np.ndarray) -> dict[str, np.ndarray]:
        found = signature(**{entry: tf.constant(x)})
        return {name: y.numpy() for name, y in found.items()}

    return predict


def tflite(path: pathlib.Path) -> Predict:
    """LiteRT's interpreter if it is installed, else TensorFlow's."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import tensorflow as tf

        Interpreter = tf.lite.Interpreter
    interpreter = Interpreter(str(path), num_threads=os.cpu_count())
    signature = interpreter.get_signature_runner()
    (entry,) = signature.get_input_details()
    return lambda x: signature(**{entry: x})


def onnx(path: pathlib.Path) -> Predict:
    """ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        path, providers=["CPUExecutionProvider"]
    )
    (entry,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    return lambda x: dict(
        zip(names, session.run(names, {entry.name: x}), strict=True)
    )


def openvino(path: pathlib.Path) -> Predict:
    """OpenVINO, which would compute in bfloat16 where the processor can."""
    import openvino

    model = openvino.compile_model(
        path / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )

    def predict(x: np.ndarray) -> dict[str, np.ndarray]:
        found = model(x)
        # A copy, as the next call writes into the same memory.
        return {y.any_name: np.array(found[y]) for y in model.outputs}

    return predict


def torch(path: pathlib.Path) -> Predict:
    """A program that torch exported."""
    import torch

    program = torch.export.load(path).module()

    def predict(x: np.ndarray) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            found = program(torch.from_numpy(x))
        return {name: y.numpy() for name, y in found.items()}

    return predict


LOADERS: dict[str, Callable[[pathlib.Path], Predict]] = {
    "saved_model": saved_model,
    "tflite": tflite,
    "onnx": onnx,
    "openvino": openvino,
    "torch": torch,
}

if __name__ == "__main__":
    main(*sys.argv[1:])
