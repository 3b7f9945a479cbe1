"""Timed steps of candidates.

Each function here takes a candidate, the setting, a dtype and whether to
train, prepares what all batches have in common, and returns a function from
a batch size to a step. A step ends when its result is in main memory, so that
no device is still computing.
"""

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from examples.benchmark.candidates import FILES
from examples.benchmark.candidates import Candidate
from examples.benchmark.setting import Setting

Step = Callable[[], Any]


def timm(
    candidate: Candidate, setting: Setting, dtype: str, training: bool
) -> Callable[[int], Step]:
    """Prepare steps of timm's model in PyTorch."""
    import timm as library
    import torch

    device = "cuda" if setting.device == "gpu" else "cpu"
    memory_format = (
        torch.contiguous_format
        if candidate.form == "contiguous"
        else torch.channels_last
    )
    # torch types `to` without its `memory_format`.
    model: Any = library.create_model(setting.model)
    model = model.to(device, memory_format=memory_format).train(training)
    low = torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16")
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    run = torch.compile(model) if candidate.form == "compiled" else model

    def step(batch: int) -> Step:
        x = torch.from_numpy(_images(batch, setting.size, first=True))
        x = x.to(device, memory_format=memory_format)
        y = torch.arange(batch, device=device) % 1000

        def predict() -> Any:
            with torch.inference_mode(), low:
                return run(x).float().softmax(-1).cpu().numpy()

        def train() -> float:
            optimizer.zero_grad()
            with low:
                loss = torch.nn.functional.cross_entropy(run(x), y)
            loss.backward()
            optimizer.step()
            return float(loss)

        return train if training else predict

    return step


def keras(
    candidate: Candidate, setting: Setting, dtype: str, training: bool
) -> Callable[[int], Step]:
    """Prepare `predict_on_batch` or `train_on_batch` of a compiled model."""
    import keras as library

    import keras_resnext

    if dtype == "bfloat16" and candidate.form == "plain":
        library.config.set_dtype_policy("mixed_bfloat16")
    model = keras_resnext.get_model(
        setting.model,
        weights=None,
        input_shape=(setting.size, setting.size, 3),
    )
    if candidate.form == "folded":
        low = None if dtype == "float32" else dtype
        model = keras_resnext.optimize_for_inference(model, low)
    elif candidate.form == "stock":
        model = library.models.clone_model(model, clone_function=_stock)
    model.compile(
        library.optimizers.SGD(0.1, momentum=0.9),
        "sparse_categorical_crossentropy",
    )

    def step(batch: int) -> Step:
        x, y = _images(batch, setting.size), np.arange(batch) % 1000
        if setting.device == "gpu":
            # An efficient pipeline has already put them there.
            x, y = map(library.ops.convert_to_tensor, (x, y))
        if training:
            return lambda: float(np.asarray(model.train_on_batch(x, y)))
        return lambda: np.asarray(model.predict_on_batch(x))

    return step


def _stock(layer: Any) -> Any:
    """Return Keras' own counterpart of a layer."""
    import keras as library

    import keras_resnext

    config = layer.get_config()
    if isinstance(layer, keras_resnext.layers.Conv2D):
        return library.layers.Conv2D.from_config({**config, "padding": "same"})
    if isinstance(layer, keras_resnext.layers.MaxPooling2D):
        del config["nonnegative"]
        return library.layers.MaxPooling2D.from_config(
            {**config, "padding": "same"}
        )
    if isinstance(layer, keras_resnext.layers.BatchNormalization):
        activation = library.layers.Activation(config.pop("activation"))
        stock = library.layers.BatchNormalization.from_config(config)
        return library.Sequential([stock, activation], name=layer.name)
    return layer.__class__.from_config(config)


def saved_model(
    candidate: Candidate, setting: Setting, dtype: str, training: bool
) -> Callable[[int], Step]:
    """Prepare steps of a SavedModel in TensorFlow."""
    import tensorflow as tf

    # Kept as long as its function.
    loaded = tf.saved_model.load(str(_path(candidate, setting)))
    signature = loaded.signatures["serving_default"]
    _, inputs = signature.structured_input_signature
    (name,) = inputs

    def step(batch: int) -> Step:
        x = _images(batch, setting.size)

        def predict() -> Any:
            (output,) = signature(**{name: tf.constant(x)}).values()
            return output.numpy(), loaded

        return predict

    return step


def tflite(
    candidate: Candidate, setting: Setting, dtype: str, training: bool
) -> Callable[[int], Step]:
    """Prepare steps of a TFLite file in TensorFlow's LiteRT."""
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(
        str(_path(candidate, setting)), num_threads=setting.threads
    )
    signature = interpreter.get_signature_runner()
    ((name, details),) = signature.get_input_details().items()

    def step(batch: int) -> Step:
        x = _images(batch, setting.size).astype(details["dtype"])
        return lambda: signature(**{name: x})

    return step


def onnx(
    candidate: Candidate, setting: Setting, dtype: str, training: bool
) -> Callable[[int], Step]:
    """Prepare steps of an ONNX file in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = setting.threads
    session = onnxruntime.InferenceSession(
        _path(candidate, setting),
        options,
        providers=["CPUExecutionProvider"],
    )
    (entry,) = session.get_inputs()

    def step(batch: int) -> Step:
        x = _images(batch, setting.size, first=candidate.form == "onnx:timm")
        return lambda: session.run(None, {entry.name: x})

    return step


def openvino(
    candidate: Candidate, setting: Setting, dtype: str, training: bool
) -> Callable[[int], Step]:
    """Prepare steps of a file in OpenVINO."""
    import openvino as library

    model = library.compile_model(
        _path(candidate, setting),
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": "bf16"
            if dtype == "bfloat16"
            else "f32",
            "INFERENCE_NUM_THREADS": setting.threads,
        },
    )

    def step(batch: int) -> Step:
        first = candidate.form == "openvino:timm"
        x = _images(batch, setting.size, first)
        return lambda: model(x)[0]

    return step


def program(
    candidate: Candidate, setting: Setting, dtype: str, training: bool
) -> Callable[[int], Step]:
    """Prepare steps of torch's exported program."""
    import torch

    model = torch.export.load(_path(candidate, setting)).module()

    def step(batch: int) -> Step:
        x = torch.from_numpy(_images(batch, setting.size))

        def predict() -> Any:
            with torch.inference_mode():
                (y,) = model(x).values()
                return y.numpy()

        return predict

    return step


PREPARE: dict[str, Callable[..., Callable[[int], Step]]] = {
    "timm": timm,
    "keras": keras,
    "saved_model": saved_model,
    "tflite": tflite,
    "onnx": onnx,
    "openvino": openvino,
    "program": program,
}


def _images(batch: int, size: int, first: bool = False) -> np.ndarray:
    """Return images, of channels first if asked."""
    random = np.random.default_rng(0)
    x = random.random((batch, size, size, 3), "float32")
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if first else x


def _path(candidate: Candidate, setting: Setting) -> pathlib.Path:
    return pathlib.Path(setting.files, FILES[candidate.form])
