"""Max pooling: as Keras' own, except for its padding and its speed."""

import harness
import keras
import numpy as np
import pytest

from keras_resnext.layers import MaxPooling2D

CASES = {
    "stem": {"pool_size": 3, "strides": 2},
    "default": {},
    "nonnegative": {"strides": 2, "nonnegative": True},
    "uneven": {"pool_size": (3, 5), "strides": (1, 2)},
    "valid": {"pool_size": (2, 3), "strides": (1, 2), "padding": "valid"},
}


@pytest.mark.parametrize("check", harness.CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", CASES)
def test_as_every_layer(check, name, tmp_path):
    first = {**CASES[name], "data_format": "channels_first"}
    check(harness.Case(MaxPooling2D, CASES[name], first), tmp_path)


def test_valid_equals_keras():
    case = harness.Case(MaxPooling2D, CASES["valid"])
    expected = keras.layers.MaxPooling2D(**CASES["valid"])(case.images())
    found = harness.outputs(case.make(), case.images())
    harness.assert_close(found, keras.ops.convert_to_numpy(expected))


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (2, 2)])
def test_symmetric_padding_is_never_the_largest(size):
    x = -np.random.default_rng(0).random((2, *size, 4)).astype("float32")
    pads = [(0, 0), (1, 1), (1, 1), (0, 0)]
    padded = np.pad(x, pads, constant_values=-1e9)
    other = keras.layers.MaxPooling2D(3, 2)
    expected = harness.outputs(other, padded)
    found = harness.outputs(MaxPooling2D(3, 2), x)
    harness.assert_close(found, expected)


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (2, 2)])
def test_behind_a_relu_nothing_changes(size):
    x = np.random.default_rng(0).normal(size=(2, *size, 4)).astype("float32")
    x = np.maximum(x - 1, 0)
    found = harness.outputs(MaxPooling2D(3, 2, nonnegative=True), x)
    harness.assert_close(found, harness.outputs(MaxPooling2D(3, 2), x), 0)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="one of"):
        MaxPooling2D(padding="same")
    with pytest.raises(ValueError, match="odd `pool_size`"):
        MaxPooling2D(2)
