"""Max pooling: Keras' own, but for its speed."""

import harness
import keras
import pytest

from keras_resnext.layers import MaxPooling2D

CASES = {
    "stem": {"pool_size": 3, "strides": 2},
    "default": {},
    "uneven": {"pool_size": (2, 3), "strides": (1, 2)},
    "same": {"pool_size": 3, "strides": 2, "padding": "same"},
}


@pytest.mark.parametrize("check", harness.CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", CASES)
def test_as_every_layer(check, name, tmp_path):
    first = {**CASES[name], "data_format": "channels_first"}
    check(harness.Case(MaxPooling2D, CASES[name], first), tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_equals_keras(name):
    case = harness.Case(MaxPooling2D, CASES[name])
    expected = keras.layers.MaxPooling2D(**CASES[name])(case.images())
    found = harness.outputs(case.make(), case.images())
    harness.assert_close(found, keras.ops.convert_to_numpy(expected))
