"""Global context against its equations."""

import harness
import numpy as np
import pytest

from keras_resnext.layers import GlobalContext

CASES = {
    "default": {},
    "wide": {"ratio": 0.5, "activation": "silu"},
}


@pytest.mark.parametrize("check", harness.CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", CASES)
def test_as_every_layer(check, name, tmp_path):
    first = {**CASES[name], "data_format": "channels_first"}
    check(harness.Case(GlobalContext, CASES[name], first), tmp_path)


def test_equals_the_paper():
    case = harness.Case(GlobalContext, {"ratio": 0.5})
    layer, x = case.make(), case.images()
    layer.build(x.shape)
    harness.randomize(layer)
    names = [variable.name for variable in layer.weights]
    weights = dict(zip(names, layer.get_weights(), strict=True))
    scores = np.exp(x @ weights["context_kernel"] + weights["context_bias"])
    context = (x * scores / scores.sum((1, 2), keepdims=True)).sum((1, 2))
    narrow = context @ weights["narrow_kernel"] + weights["narrow_bias"]
    narrow -= narrow.mean(-1, keepdims=True)
    narrow /= np.sqrt(narrow.var(-1, keepdims=True) + 1e-6)
    narrow = narrow * weights["narrow_gamma"] + weights["narrow_beta"]
    wide = np.maximum(narrow, 0) @ weights["wide_kernel"] + weights["wide_bias"]
    expected = x + wide[:, None, None]
    harness.assert_close(harness.outputs(layer, x), expected)


def test_it_starts_as_the_identity():
    x = harness.Case(GlobalContext).images()
    harness.assert_close(harness.outputs(GlobalContext(), x), x)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="positive"):
        GlobalContext(ratio=0.0)
