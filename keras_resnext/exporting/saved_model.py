"""TensorFlow's SavedModel, also the source of TFLite and OpenVINO files."""

import pathlib
from collections.abc import Callable

import keras
import numpy as np

from keras_resnext.exporting.base import Format
from keras_resnext.exporting.base import InferenceModel
from keras_resnext.kernels import kernels


def load(
    path: pathlib.Path, threads: int | None = None
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Load a SavedModel into TensorFlow."""
    import tensorflow as tf

    if threads is not None:
        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        except RuntimeError:
            raise ValueError(
                "`threads` must be set before TensorFlow computes anything in "
                "this process. Leave it out, or load in another process."
            ) from None
    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]

    def predict(x: np.ndarray) -> dict[str, np.ndarray]:
        outputs = signature(**{name: tf.constant(x)})
        return {name: y.numpy() for name, y in outputs.items()}

    return predict


def save(model: keras.Model, path: pathlib.Path) -> None:
    """Write a SavedModel of a Keras model, with the TensorFlow backend."""
    # Keras' `Model.export` would write, and load, every weight twice:
    # https://github.com/keras-team/keras/issues/23553.
    archive = keras.export.ExportArchive()
    signature = [
        keras.InputSpec(x.dtype, x.shape, name=x.name) for x in model.inputs
    ]
    archive.add_endpoint("serve", model.__call__, signature)
    archive.write_out(path, verbose=False)


def save_portable(model: InferenceModel, dtype: str = "uint8") -> pathlib.Path:
    """Write the SavedModel for conversions, once, and return its folder."""
    wrapped = model.input_spec.wrap(model.folded, dtype)
    path = model.scratch / f"saved_model_{wrapped.inputs[0].dtype}"
    if not path.exists():
        with kernels.portable():
            save(wrapped, path)
    return path


def _write(model: InferenceModel, path: pathlib.Path) -> None:
    save(model.wrapped, path)


def _write_with_jax(model: InferenceModel, path: pathlib.Path) -> None:
    model.wrapped.export(path, format="tf_saved_model", verbose=False)


FORMAT = Format(
    "saved_model",
    "saved_model",
    writers={"tensorflow": _write, "jax": _write_with_jax},
    packages={"jax": ("tensorflow",)},
    load=load,
)
