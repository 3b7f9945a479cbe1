"""Saves a trained model in three formats, loads each and compares it."""

import pathlib
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

TOLERANCE = 1e-4

Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Artefact:
    """One saved file or folder, and how it does after loading.

    Args:
        name: Its name in the output folder.
        size: Bytes on disk.
        difference: Largest absolute difference of a probability from the
            model that was trained.
        agreement: Share of pictures with the same most probable class.
    """

    name: str
    size: int
    difference: float
    agreement: float

    @property
    def ok(self) -> bool:
        # A NaN is no agreement.
        return bool(self.difference <= TOLERANCE)


def save_and_check(
    model: keras.Model, pictures: list[np.ndarray], folder: pathlib.Path
) -> list[Artefact]:
    """Writes every format that the backend can, and loads it again.

    Args:
        model: The trained model.
        pictures: Batches of what it takes.
        folder: Where to; what is there under these names is replaced, each
            in one step, once it is complete.
    """
    expected = _outputs(model.predict_on_batch, pictures)
    made = []
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as staging:
        for name, (save, load) in formats().items():
            path = pathlib.Path(staging, name)
            save(model, path)
            found = _outputs(load(path), pictures)
            made.append(
                Artefact(
                    name,
                    _size(path),
                    float(np.max(np.abs(found - expected))),
                    float(np.mean(found.argmax(-1) == expected.argmax(-1))),
                )
            )
            _replace(path, folder / name)
    return made


def formats() -> dict[str, tuple[Callable, Callable]]:
    """How to save and how to load each format, on this backend."""
    kept: dict[str, tuple[Callable, Callable]] = {
        "model.keras": (_save_keras, _load_keras)
    }
    if keras.backend.backend() == "tensorflow":
        kept["saved_model"] = (_save_saved_model, _load_saved_model)
        kept["model.tflite"] = (_save_tflite, _load_tflite)
    return kept


def _save_keras(model: keras.Model, path: pathlib.Path) -> None:
    model.save(path)


def _load_keras(path: pathlib.Path) -> Predict:
    return keras.saving.load_model(path, safe_mode=True).predict_on_batch


def _save_saved_model(model: keras.Model, path: pathlib.Path) -> None:
    model.export(path, format="tf_saved_model", verbose=False)


def _load_saved_model(path: pathlib.Path) -> Predict:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))

    def predict(images: np.ndarray) -> np.ndarray:
        signature = loaded.signatures["serving_default"]
        _, inputs = signature.structured_input_signature
        (input_name,) = inputs
        (output_name,) = signature.structured_outputs
        return signature(**{input_name: tf.constant(images)})[output_name]

    return predict


def _save_tflite(model: keras.Model, path: pathlib.Path) -> None:
    model.export(path, format="litert", verbose=False)


def _load_tflite(path: pathlib.Path) -> Predict:
    interpreter_type, resolvers = _interpreter()
    with warnings.catch_warnings():
        # TensorFlow recommends the other package instead of its own.
        warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter")
        interpreter = interpreter_type(
            str(path),
            # The default is as exact, but announces itself on the terminal.
            experimental_op_resolver_type=(
                resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            ),
        )
    signature = interpreter.get_signature_runner()
    (input_name,) = signature.get_input_details()
    (output_name,) = signature.get_output_details()

    def predict(images: np.ndarray) -> np.ndarray:
        return signature(**{input_name: images})[output_name]

    return predict


def _interpreter() -> tuple[type, type]:
    """LiteRT's own interpreter if it is installed, else TensorFlow's."""
    try:
        from ai_edge_litert import interpreter as litert
    except ImportError:
        import tensorflow as tf

        return tf.lite.Interpreter, tf.lite.experimental.OpResolverType
    return litert.Interpreter, litert.OpResolverType


def _outputs(predict: Predict, pictures: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.asarray(predict(batch)) for batch in pictures])


def _size(path: pathlib.Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def _replace(new: pathlib.Path, old: pathlib.Path) -> None:
    if old.is_dir():
        # No call replaces a folder. The staging folder takes the old one
        # along when it goes.
        old.rename(new.with_name(f"{old.name}.old"))
    new.replace(old)
