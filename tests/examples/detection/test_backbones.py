"""Backbones of detectors: names, sizes, levels and weights."""

import argparse

import keras
import numpy as np
import pytest

import keras_resnext
from examples.detection import backbones

pytestmark = pytest.mark.once

SMALL = "resnext23s_4x32d"
# One of each kind of stem.
KINDS = (
    *(SMALL, "resnext29_8x64d", "resnext50_32x4d", "seresnext26t_32x4d"),
    *("legacy_seresnext26_32x4d", "cspresnext50", "gcresnext26ts"),
)


def test_a_grouping_makes_resnet50():
    name = backbones.model_name("resnext50_32x4d:1x64d")
    config = backbones.configuration(name)
    with keras.StatelessScope(initialize_variables=False):
        model = keras_resnext.ResNeXt(config, weights=None)
        ours = keras.applications.ResNet50(weights=None)
    # Keras' convolutions have biases, which normalization makes useless.
    biases = sum(
        layer.filters
        for layer in ours.layers
        if isinstance(layer, keras.layers.Conv2D)
    )
    assert model.count_params() == ours.count_params() - biases


@pytest.mark.parametrize("name", ["resnext51", f"{SMALL}:64", f"{SMALL}:"])
def test_wrong_names(name):
    with pytest.raises(argparse.ArgumentTypeError, match=r"no model|grouping"):
        backbones.model_name(name)


@pytest.mark.parametrize("name", KINDS)
def test_variants_have_their_levels(name):
    config = backbones.configuration(name)
    size = config.stem.strides * 2 ** len(config.depths)
    backbones.check(name, "none", size)
    with keras.StatelessScope(initialize_variables=False):
        model, _ = backbones.backbone(name, "none", size)
    maps = keras_resnext.feature_pyramid(model)
    first = backbones.first_level(maps)
    chosen = list(maps.output.values())[-backbones.STAGES :]
    for level, tensor in enumerate(chosen, start=first):
        assert tensor.shape[1] * 2**level == size
    with pytest.raises(ValueError, match=f"a multiple of {size}, not"):
        backbones.check(name, "none", size + size // 2)


def test_it_knows_what_its_weights_knew():
    made, info = backbones.backbone(SMALL, "cifar10", 64)
    known = keras_resnext.get_model(SMALL, weights="cifar10", include_top=False)
    assert info == known.weights_info
    for ours, theirs in zip(made.weights, known.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match="no weights for 'resnext23s_4x32d:1"):
        backbones.check(f"{SMALL}:1x64d", "cifar10", 64)
