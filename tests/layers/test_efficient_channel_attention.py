"""Efficient channel attention against its equations."""

import harness
import numpy as np
import pytest

from keras_resnext.layers import EfficientChannelAttention

CASES = {"default": {}, "wider": {"kernel_size": 5}}


@pytest.mark.parametrize("check", harness.CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", CASES)
def test_as_every_layer(check, name, tmp_path):
    first = {**CASES[name], "data_format": "channels_first"}
    check(harness.Case(EfficientChannelAttention, CASES[name], first), tmp_path)


def test_equals_the_paper():
    case = harness.Case(EfficientChannelAttention)
    layer, x = case.make(), case.images()
    layer.build(x.shape)
    harness.randomize(layer)
    (kernel,) = layer.get_weights()
    padded = np.pad(x.mean((1, 2)), [(0, 0), (1, 1)])
    seen = sum(padded[:, i : i + 8] * kernel[i, 0, 0] for i in range(3))
    expected = x * (1 / (1 + np.exp(-seen)))[:, None, None]
    harness.assert_close(harness.outputs(layer, x), expected)


@pytest.mark.once
@pytest.mark.parametrize(
    ("channels", "size"), [(8, 3), (64, 3), (256, 5), (512, 5), (2048, 7)]
)
def test_the_kernel_grows_with_the_channels(channels, size):
    layer = EfficientChannelAttention()
    layer.build((None, 7, 7, channels))
    assert layer.kernel.shape == (size, 1, 1)


@pytest.mark.parametrize("wrong", [0, 4, -1])
def test_wrong_arguments(wrong):
    with pytest.raises(ValueError, match="odd"):
        EfficientChannelAttention(kernel_size=wrong)
