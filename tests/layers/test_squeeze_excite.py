"""Squeeze-and-excitation against its equations."""

import harness
import numpy as np
import pytest

from keras_resnext.layers import SqueezeExcite

CASES = {
    "default": {},
    "wide": {"ratio": 0.5, "divisor": 1, "activation": "silu"},
}


@pytest.mark.parametrize("check", harness.CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", CASES)
def test_as_every_layer(check, name, tmp_path):
    first = {**CASES[name], "data_format": "channels_first"}
    check(harness.Case(SqueezeExcite, CASES[name], first), tmp_path)


def test_equals_the_paper():
    case = harness.Case(SqueezeExcite, {"ratio": 0.5, "divisor": 1})
    layer, x = case.make(), case.images()
    layer.build(x.shape)
    harness.randomize(layer)
    reduce, reduce_bias, expand, expand_bias = layer.get_weights()
    squeezed = np.maximum(x.mean((1, 2)) @ reduce + reduce_bias, 0)
    gates = 1 / (1 + np.exp(-(squeezed @ expand + expand_bias)))
    expected = x * gates[:, None, None]
    harness.assert_close(harness.outputs(layer, x), expected)


@pytest.mark.once
@pytest.mark.parametrize(
    ("channels", "narrow"), [(64, 8), (256, 16), (2048, 128), (320, 24)]
)
def test_the_narrow_layer_is_rounded_up(channels, narrow):
    layer = SqueezeExcite()
    layer.build((None, 7, 7, channels))
    assert layer.reduce_kernel.shape == (channels, narrow)


@pytest.mark.parametrize("wrong", [{"ratio": 0.0}, {"divisor": 0}])
def test_wrong_arguments(wrong):
    with pytest.raises(ValueError, match="positive"):
        SqueezeExcite(**wrong)
