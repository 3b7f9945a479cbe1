"""Checks for every layer, whatever it computes."""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any

import keras
import numpy as np
from keras import tree


@dataclass(frozen=True)
class Case:
    """A layer, its arguments and images for it.

    Args:
        layer: The class.
        arguments: What it is made with, channels last.
        channels_first: Arguments that differ when channels come first.
        shape: Shape of a batch of images, channels last.
        views: How many batches of images the layer takes, as a list; `None`
            for one that is no list.
    """

    layer: type[keras.layers.Layer]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    channels_first: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = (2, 9, 7, 8)
    views: int | None = None

    def make(self, **more: Any) -> keras.layers.Layer:
        return self.layer(**{**self.arguments, **more})

    def images(self) -> Any:
        random = np.random.default_rng(0)
        images = [
            random.normal(size=self.shape).astype("f4")
            for _ in range(self.views or 1)
        ]
        return images[0] if self.views is None else images

    def per_input(self, value: Any) -> Any:
        """Return the value, or a list with a value for each input."""
        return value if self.views is None else [value] * self.views


def outputs(layer: Any, x: Any, **kwargs: Any) -> np.ndarray:
    y = layer(tree.map_structure(keras.ops.convert_to_tensor, x), **kwargs)
    return keras.ops.convert_to_numpy(keras.ops.cast(y, "float32"))


def randomize(layer: keras.layers.Layer) -> None:
    """Random weights, all of them positive, as variances are."""
    random = np.random.default_rng(1)
    layer.set_weights(
        [random.uniform(0.1, 1.0, w.shape) for w in layer.weights]
    )


def weights(layer: keras.layers.Layer) -> dict[str, np.ndarray]:
    """Arrays by their path below the layer."""
    return {
        variable.path.partition("/")[2]: keras.ops.convert_to_numpy(variable)
        for variable in layer.weights
    }


def assert_close(found: Any, expected: Any, share: float = 1e-6) -> None:
    """Equal up to a share of the largest number."""
    assert found.shape == expected.shape
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(found, expected, atol=share * scale, rtol=0)


def shape_inference(case: Case, tmp_path: Any) -> None:
    x = case.images()
    layer = case.make()
    real = layer(x).shape
    assert layer.compute_output_shape(case.per_input(case.shape)) == tuple(real)
    symbolic = case.per_input(keras.Input(batch_shape=case.shape))
    assert case.make()(symbolic).shape == tuple(real)
    unknown = case.per_input(keras.Input((None, None, case.shape[3])))
    assert case.make()(unknown).shape == (None, None, None, real[3])


def unknown_sizes(case: Case, tmp_path: Any) -> None:
    """Predict and train on leftover images, of a size not known before."""
    one = case.images()
    x = tree.map_structure(lambda x: np.concatenate([x, x[:1] + 1]), one)
    shape = (None, None, case.shape[3])
    inputs = tree.map_structure(lambda _: keras.Input(shape), x)
    layer = case.make()
    model = keras.Model(inputs, layer(inputs))
    randomize(layer)
    expected = outputs(layer, x)
    # Two images, then one, in a compiled function, which may sum otherwise.
    found = model.predict(x, batch_size=2, verbose=0)
    assert_close(found, expected, 3e-6)
    if model.trainable_weights:
        model.compile("sgd", "mse")
        model.fit(x, expected + 1.0, batch_size=2, verbose=0)
        for weight in model.get_weights():
            assert np.isfinite(weight).all()


def save_and_load(case: Case, tmp_path: Any) -> None:
    x = case.images()
    images = tree.map_structure(lambda one: keras.Input(one.shape[1:]), x)
    layer = case.make()
    model = keras.Model(images, layer(images))
    randomize(layer)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    copy = loaded.layers[-1]
    assert type(copy) is case.layer
    assert copy.get_config() == layer.get_config()
    name = keras.saving.get_registered_name(case.layer)
    assert name == f"keras_resnext>{case.layer.__name__}"
    np.testing.assert_array_equal(outputs(loaded, x), outputs(model, x))


def mixed_precision(case: Case, tmp_path: Any) -> None:
    x, shape = case.images(), case.per_input(case.shape)
    for half in ("bfloat16", "float16"):
        layer, mixed = case.make(), case.make(dtype=f"mixed_{half}")
        layer.build(shape)
        mixed.build(shape)
        randomize(layer)
        mixed.set_weights(layer.get_weights())
        assert {v.dtype for v in mixed.weights} <= {"float32"}
        for training in (False, True):
            y = mixed(x, training=training)
            assert keras.backend.standardize_dtype(y.dtype) == half
            found = keras.ops.convert_to_numpy(keras.ops.cast(y, "float32"))
            expected = outputs(layer, x, training=training)
            assert_close(found, expected, 3e-2)


def channels_first(case: Case, tmp_path: Any) -> None:
    x = case.images()
    turned = tree.map_structure(lambda one: one.transpose(0, 3, 1, 2), x)
    batch, height, width, channels = case.shape
    layer, first = case.make(), case.make(**case.channels_first)
    layer.build(case.per_input(case.shape))
    randomize(layer)
    first.build(case.per_input((batch, channels, height, width)))
    first.set_weights(layer.get_weights())
    for training in (False, True):
        found = outputs(first, turned, training=training)
        expected = outputs(layer, x, training=training).transpose(0, 3, 1, 2)
        assert_close(found, expected)
        shape = case.per_input((batch, channels, height, None))
        shape = first.compute_output_shape(shape)
        assert shape == (batch, *expected.shape[1:3], None)


CHECKS = (
    shape_inference,
    unknown_sizes,
    save_and_load,
    mixed_precision,
    channels_first,
)
