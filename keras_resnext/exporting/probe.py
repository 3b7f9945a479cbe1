"""Runs an artefact in its own runtime, and says what it puts out, how fast.

A script for a fresh process: it knows nothing of Keras.

    python probe.py RUNTIME ARTEFACT INPUTS.npy OUTPUTS.npz
"""

import os
import pathlib
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

BATCH = 32

Predict = Callable[[np.ndarray], np.ndarray]


def main(runtime: str, artefact: str, inputs: str, outputs: str) -> None:
    """Runs the script."""
    predict = LOADERS[runtime](pathlib.Path(artefact))
    x = np.load(inputs)
    found = [
        np.asarray(predict(x[start : start + BATCH]))
        for start in range(0, len(x), BATCH)
    ]
    many = np.resize(x, (BATCH, *x.shape[1:]))
    np.savez(
        outputs,
        outputs=np.concatenate(found),
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
    (name,) = inputs
    (output,) = signature.structured_outputs
    return lambda x: signature(**{name: tf.constant(x)})[output].numpy()


def tflite(path: pathlib.Path) -> Predict:
    """LiteRT's interpreter if it is installed, else TensorFlow's."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import tensorflow as tf

        Interpreter = tf.lite.Interpreter
    interpreter = Interpreter(str(path), num_threads=os.cpu_count())
    signature = interpreter.get_signature_runner()
    (name,) = signature.get_input_details()
    (output,) = signature.get_output_details()
    return lambda x: signature(**{name: x})[output]


def onnx(path: pathlib.Path) -> Predict:
    """ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        path, providers=["CPUExecutionProvider"]
    )
    (entry,) = session.get_inputs()
    return lambda x: session.run(None, {entry.name: x})[0]


def openvino(path: pathlib.Path) -> Predict:
    """OpenVINO, which would compute in bfloat16 where the processor can."""
    import openvino

    model = openvino.compile_model(
        path / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return lambda x: model(x)[0]


def torch(path: pathlib.Path) -> Predict:
    """A program that torch exported."""
    import torch

    program = torch.export.load(path).module()

    def predict(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return program(torch.from_numpy(x)).numpy()

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
