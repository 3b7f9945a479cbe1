"""Which network a checkpoint looks like."""

import functools

import keras
import numpy as np
import pytest
import safetensors.numpy

import keras_resnext
from keras_resnext import VARIANTS
from keras_resnext.weights import convert
from keras_resnext.weights import identify
from keras_resnext.weights.checkpoint import variables_of
from keras_resnext.weights.files import CheckpointError
from keras_resnext.weights.identify import looks_like
from keras_resnext.weights.state_dicts import torch_layout

pytestmark = pytest.mark.once

# What no weights tell apart.
TWINS = {"seresnext101d_32x8d": "seresnextaa101d_32x8d"}
TWINS |= {other: one for one, other in TWINS.items()}
SMALLER = (
    "resnext50_32x4d",
    "resnext50d_32x4d",
    "resnext29_8x64d",
    "seresnext26t_32x4d",
    "seresnext50_32x4d",
    "legacy_seresnext50_32x4d",
    "ecaresnext26t_32x4d",
    "resnext26ts",
    "seresnext26ts",
    "eca_resnext26ts",
    "gcresnext26ts",
    "bat_resnext26ts",
    "skresnext50_32x4d",
    "cspresnext50",
)


@functools.lru_cache(maxsize=1)  # they are large
def checkpoint(variant, layout=None):
    """Zeros in the names and shapes of a variant."""
    with keras.StatelessScope(initialize_variables=False):
        model = keras_resnext.get_model(variant, weights=None)
    zero = np.zeros((), "float32")
    values = {
        key: np.broadcast_to(zero, variable.shape)
        for key, variable in variables_of(model)
    }
    layout = layout or torch_layout(model)
    layers = [layer.name for layer in model.layers]
    return convert.from_keras(values, layers, layout), layout


@pytest.mark.parametrize(
    "variant",
    [
        name if name in SMALLER else pytest.param(name, marks=pytest.mark.slow)
        for name in VARIANTS
    ],
)
def test_variants_are_told_apart(variant):
    tensors, layout = checkpoint(variant)
    assert identify.detect_layout(tensors) == layout
    expected = {variant, TWINS.get(variant, variant)}
    assert set(looks_like(tensors, layout)) == expected


@pytest.mark.parametrize(
    ("variant", "layout"),
    [
        ("resnext50_32x4d", "mmpretrain"),
        ("resnext50_32x4d", "keras_applications"),
        ("resnext50_32x4d", "qubvel"),
        ("seresnext50_32x4d", "qubvel"),
    ],
)
def test_variants_are_told_apart_in_other_layouts(variant, layout):
    tensors, _ = checkpoint(variant, layout)
    assert variant in looks_like(tensors, layout)


def test_other_networks_look_like_nothing():
    tensors, layout = checkpoint("resnext50_32x4d")
    rest = {k: v for k, v in tensors.items() if "layer4.2" not in k}
    assert looks_like(rest, layout) == []
    more = {
        **tensors,
        "layer4.3.conv1.weight": tensors["layer4.2.conv1.weight"],
    }
    assert looks_like(more, layout) == []


def write(path, tensors):
    safetensors.numpy.save_file(
        {name: np.ascontiguousarray(value) for name, value in tensors.items()},
        path,
    )
    return path


@pytest.mark.parametrize("other", ["resnext50d_32x4d", "resnext26ts"])
def test_wrong_variant_says_what_it_looks_like(other, tmp_path):
    path = write(
        tmp_path / "w.safetensors", checkpoint("seresnext26t_32x4d")[0]
    )
    with pytest.raises(CheckpointError, match="looks like seresnext26t_32x4d"):
        keras_resnext.get_model(other, weights=path)


def test_network_of_no_name_says_nothing(tmp_path):
    tensors, _ = checkpoint("resnext50_32x4d")
    rest = {k: v for k, v in tensors.items() if "layer4.2" not in k}
    path = write(tmp_path / "w.safetensors", rest)
    with pytest.raises(CheckpointError) as info:
        keras_resnext.get_model("resnext50_32x4d", weights=path)
    assert "looks like" not in str(info.value)


@pytest.mark.parametrize("include_top", [True, False])
def test_model_from_checkpoint(include_top, tmp_path):
    model = keras_resnext.get_model(
        "seresnext26ts", weights=None, classes=7, include_top=include_top
    )
    path = tmp_path / "w.safetensors"
    keras_resnext.save_torch_checkpoint(model, path)
    found = keras_resnext.model_from_checkpoint(path, name="mine")
    assert found.name == "mine"
    assert found.output.shape[1:] == (
        (7,) if include_top else (None, None, 2048)
    )
    for one, other in zip(model.weights, found.weights, strict=True):
        np.testing.assert_array_equal(
            *map(keras.ops.convert_to_numpy, (one.value, other.value))
        )


def test_checkpoint_of_twins_wants_a_name(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "keras_resnext.weights.checkpoint.looks_like",
        lambda *_: ["one", "other"],
    )
    path = write(tmp_path / "w.safetensors", checkpoint("seresnext26ts")[0])
    with pytest.raises(CheckpointError, match=r"one, other\. Name one"):
        keras_resnext.model_from_checkpoint(path)
