"""Layouts: each a bijection, with the other library's own names."""

import dataclasses
import functools
import re

import keras
import numpy as np
import pytest
import tinynet
from torch_helpers import import_torchvision

from keras_resnext import FixedCardinality
from keras_resnext.variants import VARIANTS
from keras_resnext.weights import convert
from keras_resnext.weights import identify
from keras_resnext.weights.layouts import LAYOUTS
from keras_resnext.weights.layouts import foreign_name

pytestmark = pytest.mark.once

EPSILON_SHIFT = 1e-8


def small(variant):
    """Return a model's layers, narrow, and at most two blocks a stage."""
    config = VARIANTS[variant]
    return dataclasses.replace(
        config,
        depths=tuple(min(each, 2) for each in config.depths),
        grouping=FixedCardinality(1, 2),
        out_channels=(192,) * len(config.depths),
    )


@functools.cache
def model_of(config):
    # Of any size, as bilinear attention wants larger images.
    with keras.StatelessScope(initialize_variables=False):
        return tinynet.build(config, input_shape=(None, None, 3))


def layouts(variant):
    """Return the layouts with names for a variant; timm's first."""
    if variant.endswith("ts"):
        return ["timm_byob"]
    for family in ("sk", "csp"):
        if variant.startswith(family):
            return [f"timm_{family}"]
    if variant.startswith("legacy_"):
        return ["timm_senet"]
    config = VARIANTS[variant]
    if len(config.stem.widths) > 1:
        return ["timm_resnet"]
    if config.attention is not None:
        return ["timm_resnet", "qubvel"]
    return ["timm_resnet", "mmpretrain", "keras_applications", "qubvel"]


# Of variants that differ only in how many blocks follow the second, one.
DISTINCT = {small(variant): variant for variant in VARIANTS}.values()


@pytest.mark.parametrize(
    ("variant", "layout"),
    [(each, layout) for each in DISTINCT for layout in layouts(each)],
)
def test_names_are_distinct_and_come_back(variant, layout):
    model = model_of(small(variant))
    values = tinynet.random_values(model)
    tensors = convert.from_keras(values, tinynet.layers(model), layout)
    assert len(tensors) == len(values)
    assert identify.detect_layout(tensors) == layout
    back = dict(
        convert.to_keras(
            tensors, tinynet.shapes(model), tinynet.layers(model), layout
        )
    )
    assert back.keys() == values.keys()
    for key, value in values.items():
        np.testing.assert_array_equal(back[key], value, str(key))


@pytest.mark.parity
@pytest.mark.parametrize(
    "variant",
    [
        name if name in DISTINCT else pytest.param(name, marks=pytest.mark.slow)
        for name in VARIANTS
    ],
)
def test_names_are_timms(variant):
    """Names of the first two blocks of each stage."""
    torch = pytest.importorskip("torch")
    import_torchvision()
    timm = pytest.importorskip("timm")
    resnet = pytest.importorskip("timm.models.resnet")
    config = VARIANTS[variant]
    with torch.device("meta"):
        if variant in timm.list_models():
            theirs = timm.create_model(variant)
        else:  # names depend on what the variants have in common only
            if len(config.depths) != 4:
                pytest.skip("timm has no model of three stages")
            theirs = resnet.ResNet(resnet.Bottleneck, config.depths)
    names = {
        name
        for name in theirs.state_dict()
        if not name.endswith("num_batches_tracked")
        and not re.search(r"(layer\d|stages\.\d|blocks)\.([2-9]|\d\d)", name)
    }
    model = model_of(small(variant))
    tensors = convert.from_keras(
        tinynet.random_values(model), tinynet.layers(model), layouts(variant)[0]
    )
    assert tensors.keys() == names


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        ("stage3_block23_bn3", "conv4_block23_3_bn"),
        ("predictions", "predictions|probs"),
        ("stage1_block1_attention", None),
        ("my_stem_conv1", None),
    ],
)
def test_names_of_keras_applications(layer, name):
    names = LAYOUTS["keras_applications"].names
    assert foreign_name(names, layer) == name


def test_variance_comes_back_but_where_float32_gets_coarser():
    _, transform = LAYOUTS["keras_applications"].variables["moving_variance"]
    rng = np.random.default_rng(0)
    variances = np.exp(rng.uniform(np.log(1e-5), np.log(100), 1_000_000))
    variances = variances.astype("float32")
    variances[:4] = [0.0, 0.25, 1.0, 2.0]
    ours = transform.to_keras(variances, variances.shape)
    assert ours.dtype == variances.dtype
    np.testing.assert_allclose(
        ours.astype("float64") - variances,
        EPSILON_SHIFT,
        rtol=0,
        atol=np.spacing(ours.max()) / 2,
    )
    back = transform.from_keras(ours)
    changed = np.flatnonzero(back != variances)
    assert len(changed) < 1e-4 * len(variances)
    # Two floats below a power of two share one float above it.
    below = np.nextafter(variances[changed], np.float32(0))
    power = np.ldexp(1.0, np.frexp(below)[1])
    assert np.all(variances[changed] + EPSILON_SHIFT >= power)
    steps = variances[changed].view("int32") - back[changed].view("int32")
    assert np.all(np.abs(steps) <= 1)
