"""What every layer must do, whatever it computes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any

import keras
import numpy as np


@dataclass(frozen=True)
class Case:
    """A layer, its arguments and images for it.

    Args:
        layer: The class.
        arguments: What it is made with, channels last.
        channels_first: Arguments that differ when channels come first.
        shape: Shape of a batch of images, channels last.
    """

    layer: type[keras.layers.Layer]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    channels_first: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = (2, 9, 7, 8)

    def make(self, **more: Any) -> keras.layers.Layer:
        return self.layer(**{**self.arguments, **more})

    def images(self) -> np.ndarray:
        return np.random.default_rng(0).normal(size=self.shape).astype("f4")


def outputs(layer: Any, x: np.ndarray, **kwargs: Any) -> np.ndarray:
    y = layer(keras.ops.convert_to_tensor(x), **kwargs)
    return keras.ops.convert_to_numpy(keras.ops.cast(y, "float32"))


def randomize(layer: keras.layers.Layer) -> None:
    """Random weights, all of them positive, as variances are."""
    random = np.random.default_rng(1)
    layer.set_weights(
        [random.uniform(0.1, 1.0, w.shape) for w in layer.weights]
    )


def assert_close(found: Any, expected: Any, share: float = 1e-6) -> None:
    """Equal up to a share of the largest number."""
    assert found.shape == expected.shape
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(found, expected, atol=share * scale, rtol=0)


def shape_inference(case: Case, tmp_path: Any) -> None:
    x = case.images()
    layer = case.make()
    real = layer(x).shape
    assert layer.compute_output_shape(x.shape) == tuple(real)
    assert case.make()(keras.Input(batch_shape=x.shape)).shape == tuple(real)
    unknown = case.make()(keras.Input((None, None, x.shape[3])))
    assert unknown.shape == (None, None, None, real[3])


def config_round_trip(case: Case, tmp_path: Any) -> None:
    layer, x = case.make(), case.images()
    expected = outputs(layer, x)
    data = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    assert data["registered_name"] == f"keras_resnext>{case.layer.__name__}"
    copy = keras.saving.deserialize_keras_object(data)
    assert type(copy) is case.layer
    assert copy.get_config() == layer.get_config()
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(outputs(copy, x), expected)


def save_and_load(case: Case, tmp_path: Any) -> None:
    images = keras.Input(case.shape[1:])
    layer = case.make()
    model = keras.Model(images, layer(images))
    randomize(layer)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    x = case.images()
    np.testing.assert_array_equal(outputs(loaded, x), outputs(model, x))


def mixed_precision(case: Case, tmp_path: Any) -> None:
    layer, x = case.make(), case.images()
    layer.build(x.shape)
    randomize(layer)
    for half in ("bfloat16", "float16"):
        mixed = case.make(dtype=f"mixed_{half}")
        mixed.build(x.shape)
        mixed.set_weights(layer.get_weights())
        assert {v.dtype for v in mixed.weights} <= {"float32"}
        for training in (False, True):
            y = mixed(x, training=training)
            assert keras.backend.standardize_dtype(y.dtype) == half
            found = outputs(mixed, x, training=training)
            expected = outputs(layer, x, training=training)
            assert_close(found, expected, 3e-2)


def channels_first(case: Case, tmp_path: Any) -> None:
    x = case.images()
    layer, first = case.make(), case.make(**case.channels_first)
    layer.build(x.shape)
    randomize(layer)
    first.build(tuple(np.take(x.shape, (0, 3, 1, 2)).tolist()))
    first.set_weights(layer.get_weights())
    for training in (False, True):
        found = outputs(first, x.transpose(0, 3, 1, 2), training=training)
        expected = outputs(layer, x, training=training).transpose(0, 3, 1, 2)
        assert_close(found, expected)
        shape = first.compute_output_shape((2, x.shape[3], 9, None))
        assert shape == (2, expected.shape[1], expected.shape[2], None)


CHECKS = (
    shape_inference,
    config_round_trip,
    save_and_load,
    mixed_precision,
    channels_first,
)
