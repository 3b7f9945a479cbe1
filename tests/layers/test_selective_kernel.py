"""Selective kernels against their equations, and against timm."""

import harness
import keras
import numpy as np
import pytest
import timms
from torch_helpers import import_torchvision

from keras_resnext.layers import SelectiveKernel

CASES = {
    "default": {},
    "wide": {"ratio": 0.5, "divisor": 1, "activation": "silu"},
}


@pytest.mark.parametrize("check", harness.CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("views", [2, 3])
@pytest.mark.parametrize("name", CASES)
def test_as_every_layer(check, name, views, tmp_path):
    first = {**CASES[name], "data_format": "channels_first"}
    case = harness.Case(SelectiveKernel, CASES[name], first, views=views)
    check(case, tmp_path)


def test_equals_the_paper():
    arguments = {"ratio": 0.5, "divisor": 1}
    case = harness.Case(SelectiveKernel, arguments, views=3)
    layer, views = case.make(), np.stack(case.images())
    layer.build([case.shape] * 3)
    harness.randomize(layer)
    w = harness.weights(layer)
    compact = views.sum(0).mean((1, 2)) @ w["compact_kernel"]
    compact -= w["compact_norm/moving_mean"]
    compact /= np.sqrt(w["compact_norm/moving_variance"] + 1e-5)
    compact *= w["compact_norm/gamma"]
    compact = np.maximum(compact + w["compact_norm/beta"], 0)
    scores = np.exp(compact @ w["select_kernel"]).reshape(2, 3, 8)
    shares = scores / scores.sum(1, keepdims=True)
    expected = np.einsum("nbhwc,bnc->bhwc", views, shares)
    harness.assert_close(harness.outputs(layer, list(views)), expected)


@pytest.mark.parity
@pytest.mark.parametrize("channels", [128, 1024])
@pytest.mark.parametrize("training", [False, True])
def test_equals_timms(training, channels):
    torch = pytest.importorskip("torch")
    import_torchvision()
    timm = pytest.importorskip("timm.layers")

    torch.manual_seed(0)
    attention = timm.SelectiveKernel(
        channels, rd_ratio=1 / 16, rd_divisor=32, split_input=False
    ).attn

    def select(views):
        stack = torch.stack(views, 1)
        return torch.sum(stack * attention(stack), 1)

    shape = (4, 5, 3, channels)
    views = harness.Case(SelectiveKernel, shape=shape, views=2).images()
    layer = SelectiveKernel(name=timms.NAME)
    timms.assert_same(layer, attention, views, training, select)


@pytest.mark.once
@pytest.mark.parametrize(
    ("channels", "narrow"), [(128, 32), (256, 32), (1024, 64), (1040, 96)]
)
def test_the_narrow_layer_is_rounded_up(channels, narrow):
    layer = SelectiveKernel()
    layer.build([(None, 7, 7, channels)] * 3)
    assert layer.compact_kernel.shape == (channels, narrow)
    assert layer.select_kernel.shape == (narrow, 3 * channels)


@pytest.mark.parametrize("wrong", [{"ratio": 0.0}, {"divisor": 0}])
def test_wrong_arguments(wrong):
    with pytest.raises(ValueError, match="positive"):
        SelectiveKernel(**wrong)


@pytest.mark.parametrize(
    "shapes", [[(4, 4, 8)], [(4, 4, 8), (4, 4, 6)], [(4, 4, 8), (2, 2, 8)]]
)
def test_wrong_inputs(shapes):
    inputs = [keras.Input(shape) for shape in shapes]
    with pytest.raises(ValueError, match="list of images of one shape"):
        SelectiveKernel()(inputs if len(inputs) > 1 else inputs[0])
