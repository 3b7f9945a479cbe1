"""Conversion of checkpoints to a model's values: exact, or an error."""

import functools
import re
from dataclasses import replace

import keras
import ml_dtypes
import numpy as np
import pytest
import tinynet
from torch_helpers import import_torchvision

from keras_resnext import Attention
from keras_resnext import FixedCardinality
from keras_resnext import Stem
from keras_resnext.weights import convert
from keras_resnext.weights import identify
from keras_resnext.weights.files import CheckpointError

pytestmark = pytest.mark.once

LAYOUTS = pytest.mark.parametrize(
    "layout", ["timm_resnet", "mmpretrain", "keras_applications", "qubvel"]
)


@functools.cache
def build(config=tinynet.CONFIG, **options):
    """Build a model whose variables have shapes but no values."""
    with keras.StatelessScope(initialize_variables=False):
        return tinynet.build(config, **options)


@pytest.fixture
def model():
    return build()


@pytest.fixture
def tensors(model):
    return tinynet.checkpoint(model)


@pytest.fixture
def headless():
    return build(include_top=False)


def to_keras(tensors, model, layout="timm_resnet"):
    return dict(
        convert.to_keras(
            tensors, tinynet.shapes(model), tinynet.layers(model), layout
        )
    )


def assert_refused(tensors, model, *words, layout="timm_resnet"):
    with pytest.raises(CheckpointError) as info:
        to_keras(tensors, model, layout)
    message = str(info.value)
    assert message.endswith(".")
    assert "\n" not in message
    for word in words:
        assert word in message


def assert_equal(actual, expected):
    assert actual.keys() == expected.keys()
    for key, value in expected.items():
        assert actual[key].dtype == np.float32
        np.testing.assert_array_equal(actual[key], value, str(key))


@LAYOUTS
def test_there_and_back(model, layout):
    values = tinynet.random_values(model)
    tensors = convert.from_keras(values, tinynet.layers(model), layout)
    for tensor in tensors.values():
        assert tensor.flags.c_contiguous
    back = to_keras(tensors, model, layout)
    assert_equal(back, values)
    again = convert.from_keras(back, tinynet.layers(model), layout)
    assert_equal(again, tensors)


def test_transforms_by_hand(model, tensors):
    values = tinynet.random_values(model)
    kernel = values["stage2_block1_conv2", "kernel"]
    foreign = tensors["layer2.0.conv2.weight"]
    rows, columns, width, filters = kernel.shape
    assert foreign.shape == (filters, width, rows, columns)
    assert foreign[5, 3, 0, 2] == kernel[0, 2, 3, 5]
    head = values["predictions", "kernel"]
    np.testing.assert_array_equal(tensors["fc.weight"], head.T)
    old = tinynet.checkpoint(model, layout="keras_applications")
    depthwise = old["conv3_block1_2_conv/depthwise_kernel"]
    assert depthwise.shape == (rows, columns, filters, width)
    # Input 3 of group 1, output 2 of group 1.
    assert depthwise[0, 2, width + 3, 2] == kernel[0, 2, 3, width + 2]


def test_both_names_of_the_old_head(model):
    layout = "keras_applications"
    tensors = tinynet.checkpoint(model, layout=layout)
    expected = to_keras(tensors, model, layout)
    renamed = {
        re.sub("^predictions", "probs", name): tensor
        for name, tensor in tensors.items()
    }
    renamed["conv2_block1_2_gconv/kernel"] = np.zeros((1, 1, 4, 4), "float32")
    assert_equal(to_keras(renamed, model, layout), expected)


@LAYOUTS
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_every_precision(model, dtype, layout):
    tensors = {
        name: tensor.astype(dtype)
        for name, tensor in tinynet.checkpoint(model, layout=layout).items()
    }
    rounded = {name: t.astype("float32") for name, t in tensors.items()}
    expected = to_keras(rounded, model, layout)
    assert_equal(to_keras(tensors, model, layout), expected)


# Two-sided strictness


def test_both_lists_are_printed(model, tensors):
    del tensors["layer1.0.bn2.weight"], tensors["fc.bias"]
    tensors["layer1.1.conv1.weight"] = tensors["conv1.weight"]
    assert_refused(
        tensors,
        model,
        "Missing from the checkpoint: fc.bias, layer1.0.bn2.weight.",
        "Unknown to the model: layer1.1.conv1.weight.",
    )
    del tensors["layer1.1.conv1.weight"]
    assert_refused(tensors, model, "Unknown to the model: nothing.")
    # Names can't control a terminal.
    tensors["\x1b[2J\n"] = tensors["conv1.weight"]
    assert_refused(tensors, model, r"Unknown to the model: '\x1b[2J\n'.")
    for i in range(20):
        tensors[f"x{i:02}"] = tensors["conv1.weight"]
    assert_refused(tensors, model, "x00, ", "x10 and 9 more.")


@LAYOUTS
def test_every_tensor_is_needed_and_no_other(model, layout):
    tensors = tinynet.checkpoint(model, layout=layout)
    for name in tensors:
        rest = {key: value for key, value in tensors.items() if key != name}
        assert_refused(rest, model, f"checkpoint: {name}.", layout=layout)
    tensors["probs/kernel"] = np.zeros((256, 5), "float32")
    assert_refused(tensors, model, "probs/kernel", layout=layout)


def test_deeper_network(model, tensors):
    deeper = build(replace(tinynet.CONFIG, depths=(1, 2)))
    assert_refused(tinynet.checkpoint(deeper), model, "match", "layer2.1.bn1")
    assert_refused(tensors, deeper, "match", "layer2.1.bn1")


def test_deep_stem(model):
    stem = Stem((8, 8, 64), kernel_size=3)
    other = build(replace(tinynet.CONFIG, stem=stem, shortcut="avg"))
    tensors = tinynet.checkpoint(other)
    assert identify.detect_layout(tensors) == "timm_resnet"
    assert_refused(tensors, model, "conv1.0.weight", "layer1.0.downsample.2")
    layout = "keras_applications"
    tensors = tinynet.checkpoint(model, layout=layout)
    assert_refused(tensors, other, "no name for 'stem_conv2'", layout=layout)


@LAYOUTS
@pytest.mark.parametrize(
    "grouping", [FixedCardinality(4, 16), FixedCardinality(4, 8)], ids=str
)
def test_other_grouping(model, layout, grouping):
    other = build(replace(tinynet.CONFIG, grouping=grouping))
    tensors = tinynet.checkpoint(other, layout=layout)
    words = (
        "'stage1_block1_conv",
        "needs a kernel of shape",
        "fits another architecture",
    )
    assert_refused(tensors, model, *words, layout=layout)


def test_depthwise_kernel_of_as_many_numbers(model):
    layout = "keras_applications"
    tensors = tinynet.checkpoint(model, layout=layout)
    name = "conv2_block1_2_conv/depthwise_kernel"
    rows, columns, filters, width = tensors[name].shape
    shape = (rows, columns, filters * 2, width // 2)
    tensors[name] = tensors[name].reshape(shape)
    assert_refused(tensors, model, "another architecture", layout=layout)


SE = replace(tinynet.CONFIG, attention=Attention("se"))


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        *(
            (name, [(), (3,), (1, 2, 3, 4, 5)])
            for name in ("conv1.weight", "fc.weight", "bn1.bias")
        ),
        ("layer1.0.se.fc1.weight", [(), (3,), (8, 128), (8, 128, 3, 3)]),
    ],
)
def test_other_ranks(name, shapes):
    model = build(SE)
    tensors = tinynet.checkpoint(model)
    for shape in shapes:
        tensors[name] = np.zeros(shape, "float32")
        assert_refused(tensors, model, "of shape", "another architecture")


def test_other_classes(model, tensors):
    seven = tinynet.checkpoint(build(classes=7))
    words = "distinguishes 7 classes and the model 5"
    assert_refused(seven, model, words, "classes=7")
    # Which other features are not.
    tensors["fc.weight"] = np.zeros((5, 99), "float32")
    assert_refused(tensors, model, "of shape (256, 5)", "is (99, 5)")


def test_unknown_layout():
    with pytest.raises(
        CheckpointError, match=r"timm_resnet.*It contains a, b\."
    ):
        identify.detect_layout({"b": np.zeros(1), "a": np.zeros(1)})
    with pytest.raises(CheckpointError, match=r"a3 and 1 more\.$"):
        identify.detect_layout({f"a{i}": np.zeros(1) for i in range(5)})


# What is ignored


@LAYOUTS
def test_spare_head_is_ignored(model, headless, layout):
    tensors = tinynet.checkpoint(model, layout=layout)
    values = to_keras(tensors, model, layout)
    expected = {k: v for k, v in values.items() if k[0] != "predictions"}
    assert_equal(to_keras(tensors, headless, layout), expected)
    words = ("fc", "fc1", "head.fc", "predictions")
    head = [name for name in tensors if name.startswith(words)]
    assert len(head) == 2
    for name in head:
        del tensors[name]
    assert_equal(to_keras(tensors, headless, layout), expected)


@pytest.mark.parametrize("name", ["fc.scale", "fc2.weight", "head.fc.weight"])
def test_nothing_else_is_ignored(tensors, headless, name):
    tensors[name] = np.zeros(1, "float32")
    assert_refused(tensors, headless, f"Unknown to the model: {name}.")


def test_counters_and_other_layers_are_left_alone(model, tensors):
    expected = to_keras(tensors, model)
    tensors["bn1.num_batches_tracked"] = np.array(7)
    variables = {**tinynet.shapes(model), ("normalization", "mean"): (3,)}
    layers = [*tinynet.layers(model), "normalization"]
    values = convert.to_keras(tensors, variables, layers, "timm_resnet")
    assert_equal(dict(values), expected)


# Numbers that are none


@pytest.mark.parametrize(
    ("number", "dtype"),
    [
        *((each, "float32") for each in (np.nan, np.inf, -np.inf)),
        *((np.nan, each) for each in (np.float16, ml_dtypes.bfloat16)),
        (1e300, "float64"),  # too large for float32
    ],
)
def test_not_finite(model, tensors, number, dtype):
    tensors = {name: t.astype(dtype) for name, t in tensors.items()}
    tensors["bn1.running_mean"][3] = number
    words = (
        "The moving_mean of 'stem_bn1' contains NaN or infinity in the "
        "checkpoint's 'bn1.running_mean'"
    )
    assert_refused(tensors, model, words)


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        ("timm_resnet", "bn1.running_var"),
        ("keras_applications", "conv1_bn/moving_variance"),
    ],
)
def test_negative_variance(model, layout, name):
    tensors = tinynet.checkpoint(model, layout=layout)
    tensors[name][3] = -1e-3
    words = (
        "The moving_variance of 'stem_bn1' contains negative numbers in the "
        f"checkpoint's '{name}'"
    )
    assert_refused(tensors, model, words, layout=layout)


@pytest.mark.parametrize("dtype", ["int8", "bool", "complex64"])
def test_not_floating_point(model, tensors, dtype):
    name = "layer1.0.conv1.weight"
    tensors[name] = tensors[name].astype(dtype)
    words = (
        "The kernel of 'stage1_block1_conv1' needs floating-point numbers, but "
        f"the checkpoint's '{name}' contains {dtype}"
    )
    assert_refused(tensors, model, words)


# Images of other than three channels


@pytest.mark.parity
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6, 7])
def test_stem_is_adapted_as_timm_does(tensors, channels):
    torch = pytest.importorskip("torch")
    import_torchvision()
    manipulate = pytest.importorskip("timm.models._manipulate")
    weight = torch.from_numpy(tensors["conv1.weight"])
    expected = manipulate.adapt_input_conv(channels, weight).numpy()
    other = build(input_shape=(32, 32, channels))
    kernel = to_keras(tensors, other)["stem_conv1", "kernel"]
    np.testing.assert_array_equal(kernel, expected.transpose(2, 3, 1, 0))


def test_stem_of_other_channels(model, tensors):
    gray = build(input_shape=(32, 32, 1))
    kernel = to_keras(tensors, gray)["stem_conv1", "kernel"]
    rgb = tensors["conv1.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_allclose(
        kernel.sum(axis=2), rgb.sum(axis=2), rtol=1e-5, atol=1e-6
    )
    # Back to three there is no way.
    assert_refused(tinynet.checkpoint(gray), model, "is (7, 7, 1, 64)")
    assert_equal(
        to_keras(tinynet.checkpoint(gray), gray), tinynet.random_values(gray)
    )
