"""Feature pyramids and the outputs of blocks."""

import dataclasses

import keras
import numpy as np
import pytest
import ways
from keras import ops

import keras_resnext
from keras_resnext import VARIANTS
from keras_resnext import FixedCardinality

# ImageNet's strides and stages with CIFAR's costs.
SMALL = keras_resnext.ResNeXtConfig(
    depths=(1, 2, 1, 1),
    grouping=FixedCardinality(4, 16),
    out_channels=(32, 64, 128, 256),
    stem=keras_resnext.Stem(widths=(8,), kernel_size=3),
    default_size=64,
)
CROSSED = dataclasses.replace(SMALL, stage="cross_stage")


def build(config=SMALL, **options):
    return keras_resnext.ResNeXt(config, **options)


@pytest.mark.parametrize(
    ("config", "include_top"), [(SMALL, True), (CROSSED, False)]
)
def test_pyramid(config, include_top):
    model = build(config, include_top=include_top)
    pyramid = keras_resnext.feature_pyramid(model)
    maps = pyramid(np.ones((2, 64, 64, 3), "float32"))
    shapes = {level: tuple(output.shape) for level, output in maps.items()}
    assert shapes == {
        f"P{n}": (2, 64 // 2**n, 64 // 2**n, 2 ** (n + 3)) for n in (2, 3, 4, 5)
    }
    assert pyramid.name == "resnext_pyramid"
    assert all(layer in model.layers for layer in pyramid.layers)


def test_pyramid_of_some_levels():
    model = build(include_top=False)
    pyramid = keras_resnext.feature_pyramid(model, ["P5", "P3"])
    assert list(pyramid.output) == ["P3", "P5"]
    assert pyramid.layers[-1].name == "stage4_block1_out"
    with pytest.raises(ValueError, match=r"P2, P3, P4, P5.*'P6'"):
        keras_resnext.feature_pyramid(model, ["P3", "P6"])
    with pytest.raises(ValueError, match=r"levels=\[\]"):
        keras_resnext.feature_pyramid(model, [])


def test_pyramid_keeps_its_names_when_dilated():
    config = dataclasses.replace(SMALL, output_stride=8)
    pyramid = keras_resnext.feature_pyramid(build(config))
    sizes = {level: output.shape[1] for level, output in pyramid.output.items()}
    assert sizes == {"P2": 16, "P3": 8, "P4": 8, "P5": 8}


def test_pyramid_of_a_network_for_cifar():
    with keras.StatelessScope(initialize_variables=False):
        model = build(VARIANTS["resnext29_8x64d"], include_top=False)
    pyramid = keras_resnext.feature_pyramid(model)
    assert list(pyramid.output) == ["P0", "P1", "P2"]


def test_pyramid_is_the_models_own_features():
    model = build(include_top=False)
    x = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")
    last = keras_resnext.feature_pyramid(model)(x)["P5"]
    expected = ops.convert_to_numpy(model(x))
    np.testing.assert_array_equal(ops.convert_to_numpy(last), expected)


def test_pyramid_is_saved_and_trained(tmp_path):
    pyramid = keras_resnext.feature_pyramid(build(include_top=False))
    pyramid.save(tmp_path / "pyramid.keras")
    loaded = keras.saving.load_model(tmp_path / "pyramid.keras")
    x = np.ones((1, 64, 64, 3), "float32")
    found = loaded(x)
    for level, maps in pyramid(x).items():
        np.testing.assert_allclose(
            ways.numpy(found[level]), ways.numpy(maps), atol=1e-6
        )


def test_block_outputs():
    outputs = keras_resnext.block_outputs(build()).output
    assert {name: output.shape[1:] for name, output in outputs.items()} == {
        "stem": (16, 16, 8),
        "stage1_block1": (16, 16, 32),
        "stage2_block1": (8, 8, 64),
        "stage2_block2": (8, 8, 64),
        "stage3_block1": (4, 4, 128),
        "stage4_block1": (2, 2, 256),
    }


@pytest.mark.parametrize("way", ways.FEW)
def test_a_model_that_contains_ours(tiny, way):
    model = ways.build(way, "plain", tiny)
    inputs = ways.inputs_of(model)
    pixels = ways.pixels_of(way, inputs)
    stages = ("stage1_block1", "stage2_block1")
    expected = [
        ways.numpy(ways.own_maps(model, f"{stage}_out")(pixels))
        for stage in stages
    ]
    pyramid = keras_resnext.feature_pyramid(model)
    blocks = keras_resnext.block_outputs(model)
    for made, names in ((pyramid, ("P2", "P3")), (blocks, stages)):
        assert {v.path for v in made.weights} <= {v.path for v in model.weights}
        found = ways.predict(made, inputs)
        for name, maps in zip(names, expected, strict=True):
            np.testing.assert_allclose(
                found[name], maps, atol=1e-5 * np.abs(maps).max()
            )


def test_other_models_are_refused():
    inputs = keras.Input((8, 8, 3))
    outputs = keras.layers.Conv2D(2, 3)(inputs)
    other = keras.Model(inputs, outputs, name="other")
    with pytest.raises(ValueError, match="'other' must be a model built by"):
        keras_resnext.block_outputs(other)
