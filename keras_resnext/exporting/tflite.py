"""TFLite, in float32 and three smaller formats."""

import functools
import pathlib
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_resnext.exporting.base import Format
from keras_resnext.exporting.base import InferenceModel
from keras_resnext.exporting.saved_model import save_portable


def load(
    path: pathlib.Path, threads: int | None = None
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Load a TFLite file into LiteRT if installed, else into TensorFlow."""
    import os
    import warnings

    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import tensorflow as tf

        Interpreter = tf.lite.Interpreter
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow deprecates its own
        interpreter = Interpreter(
            str(path), num_threads=threads or os.cpu_count()
        )
    signature = interpreter.get_signature_runner()
    (name,) = signature.get_input_details()
    return lambda x: signature(**{name: x})


def _write(model: InferenceModel, path: pathlib.Path, kind: str) -> None:
    import tensorflow as tf

    # The converter quantizes float inputs, not integer ones.
    dtype = "float32" if kind == "_int8" else "uint8"
    folder = save_portable(model, dtype)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    if kind:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "_float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind == "_int8":
        _quantize(converter, model)
    path.write_bytes(converter.convert())


def _quantize(converter: Any, model: InferenceModel) -> None:
    import tensorflow as tf

    assert model.samples is not None
    images = model.samples.calibrating.copy()
    if model.input_spec.pixels:
        converter.inference_input_type = tf.uint8
        # Calibrates the range of pixels to [0, 255], whatever the images.
        images[0, 0, 0], images[0, -1, -1] = 0, 255

    def batches() -> Iterator[list[np.ndarray]]:
        for image in images:
            yield [image[None].astype("float32")]

    converter.representative_dataset = batches
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]


FORMATS = tuple(
    Format(
        f"tflite{kind}",
        f"model{kind}.tflite",
        writers={"tensorflow": functools.partial(_write, kind=kind)},
        load=load,
        tolerance=tolerance,
        any_size=False,
        needs_images=kind == "_int8",
    )
    for kind, tolerance in (
        ("", 1e-4),
        ("_float16", 1e-2),
        ("_dynamic", None),
        ("_int8", None),
    )
)
