"""Bilinear attention against its definition, and against timm."""

import harness
import keras
import numpy as np
import pytest
import timms
from torch_helpers import import_torchvision

from keras_resnext.layers import BilinearAttention

CASES = {
    "default": {"dropout": 0.0},
    "uneven": {
        "block_size": 4,
        "groups": 3,
        "ratio": 0.75,
        "divisor": 1,
        "activation": "silu",
        "dropout": 0.0,
    },
}
SHAPE = (2, 16, 8, 8)


@pytest.mark.parametrize("check", harness.CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", CASES)
def test_as_every_layer(check, name, tmp_path):
    first = {**CASES[name], "data_format": "channels_first"}
    check(harness.Case(BilinearAttention, CASES[name], first, SHAPE), tmp_path)


def by_definition(x, w, block_size, groups):
    """In inference, with the matrices written out in full."""

    def activated(name, x):
        x = x @ w[f"{name}_conv/kernel"][0, 0]
        x = x - w[f"{name}_norm/moving_mean"]
        x = x / np.sqrt(w[f"{name}_norm/moving_variance"] + 1e-5)
        x = x * w[f"{name}_norm/gamma"] + w[f"{name}_norm/beta"]
        return np.maximum(x, 0)

    def matrix(name, pooled):
        x = np.tensordot(pooled, np.squeeze(w[f"{name}_conv/kernel"]), 2)
        x = x + w[f"{name}_conv/bias"]
        return 1 / (1 + np.exp(-x.reshape(groups, block_size, block_size)))

    images = []
    for narrow in activated("reduce", x):
        scores = activated("score", narrow)
        rows = np.split(scores, block_size, axis=0)
        p = matrix("row", np.stack([row.max((0, 1)) for row in rows]))
        columns = np.split(scores, block_size, axis=1)
        q = matrix("column", np.stack([col.max((0, 1)) for col in columns]))
        p = p / p.sum(2, keepdims=True)
        q = q / q.sum(1, keepdims=True)
        height, width, channels = narrow.shape
        image = np.empty_like(narrow)
        for i in range(channels):
            group = i * groups // channels
            big_p = np.kron(p[group], np.eye(height // block_size))
            big_q = np.kron(q[group], np.eye(width // block_size))
            image[..., i] = big_p @ narrow[..., i] @ big_q
        images.append(image)
    return x + activated("expand", activated("mix", np.stack(images)))


@pytest.mark.parametrize("size", [(4, 4), (8, 12), (24, 4)])
def test_equals_the_definition(size):
    arguments = {"block_size": 4, "groups": 2, "ratio": 0.5, "divisor": 1}
    case = harness.Case(BilinearAttention, arguments, shape=(2, *size, 12))
    layer, x = case.make(), case.images()
    layer.build(x.shape)
    harness.randomize(layer)
    w = harness.weights(layer)
    expected = by_definition(x, w, 4, 2)
    harness.assert_close(harness.outputs(layer, x), expected)


@pytest.mark.parity
@pytest.mark.parametrize("training", [False, True])
def test_equals_timms(training):
    torch = pytest.importorskip("torch")
    import_torchvision()
    timm = pytest.importorskip("timm.layers.non_local_attn")
    torch.manual_seed(0)
    # Smooth: where relu bends, rounding decides what the gradient is.
    module = timm.BatNonLocalAttn(
        64, block_size=8, drop_rate=0.0, act_layer=torch.nn.SiLU
    )
    x = harness.Case(BilinearAttention, shape=(4, 16, 24, 64)).images()
    layer = BilinearAttention(activation="silu", dropout=0.0, name=timms.NAME)
    allowed = {"share": 5e-6, "slopes": 3e-4} if training else {}
    timms.assert_same(layer, module, x, training, **allowed)


@pytest.mark.parity
def test_defaults_are_those_of_timms_network():
    torch = pytest.importorskip("torch")
    import_torchvision()
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    module = timm.create_model("bat_resnext26ts").stages[1][0].attn
    x = harness.Case(BilinearAttention, shape=(2, 16, 8, 128)).images()
    layer = BilinearAttention(name=timms.NAME)
    timms.assert_same(layer, module, x, training=False, slopes=None)
    assert layer.dropout.rate == module.dropout.p


def test_one_model_takes_images_of_any_size():
    images = keras.Input((None, None, 8))
    layer = BilinearAttention()
    model = keras.Model(images, layer(images))
    for shape in [(2, 8, 16, 8), (2, 16, 8, 8), (1, 24, 24, 8)]:
        x = harness.Case(BilinearAttention, shape=shape).images()
        found = model.predict(x, verbose=0)
        harness.assert_close(found, harness.outputs(layer, x))


def test_matrices_stay_finite_in_half_precision():
    case = harness.Case(BilinearAttention, shape=SHAPE)
    layer = case.make(dtype="mixed_float16")
    layer.build(SHAPE)
    for conv in (layer.row_conv, layer.column_conv):
        conv.bias.assign(np.full(conv.bias.shape, -100.0))
    assert np.isfinite(harness.outputs(layer, case.images())).all()


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_dropout_adds_nothing_to_some_channels(data_format):
    layer = BilinearAttention(
        dropout=0.75, seed=1, data_format=data_format, divisor=1
    )
    x = np.random.default_rng(0).normal(size=(2, 16, 16, 16)).astype("f4")
    layer.build(x.shape)
    harness.randomize(layer)
    layer.trainable = False  # without the statistics of the batch
    whole = harness.outputs(layer, x) - x
    dropped = harness.outputs(layer, x, training=True) - x
    axes = layer.spatial_axes
    kept = np.abs(dropped).max(axes) > 0
    assert 0 < kept.sum() < kept.size
    harness.assert_close(dropped, whole * 4 * np.expand_dims(kept, axes), 1e-5)


@pytest.mark.parametrize(
    ("data_format", "shape"),
    [
        ("channels_last", (2, 12, 8, 16)),
        ("channels_last", (2, 8, 12, 16)),
        ("channels_first", (2, 16, 8, 12)),
    ],
)
def test_sizes_must_divide(data_format, shape):
    def refused():
        return pytest.raises(ValueError, match="divisible by block_size=8")

    layer = BilinearAttention(data_format=data_format)
    with refused():
        layer.build(shape)
    with refused():
        layer(keras.Input(shape[1:]))
    layer.build((2, 16, 16, 16))
    with refused():
        layer(keras.Input(shape[1:]))
    with refused():
        layer(np.zeros(shape, "float32"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ratio": 0.0}, "`ratio` and `divisor` must be positive"),
        ({"block_size": 0}, "`block_size` and `groups` must be positive"),
        ({"groups": 0}, "`block_size` and `groups` must be positive"),
        ({"dropout": -0.1}, "rate"),
    ],
)
def test_wrong_arguments(wrong, message):
    with pytest.raises(ValueError, match=message):
        BilinearAttention(**wrong)


def test_groups_must_divide_the_narrow_width():
    with pytest.raises(ValueError, match="8 of 32 channels, must be div"):
        BilinearAttention(groups=3)(keras.Input((8, 8, 32)))
