"""Models that a checkpoint looks like."""

import functools

import keras
import numpy as np
import pytest
import safetensors.numpy
import tinynet

import keras_resnext
from keras_resnext import VARIANTS
from keras_resnext.weights import convert
from keras_resnext.weights import identify
from keras_resnext.weights.checkpoint import load_checkpoint
from keras_resnext.weights.checkpoint import variables_of
from keras_resnext.weights.files import CheckpointError
from keras_resnext.weights.identify import looks_like
from keras_resnext.weights.state_dicts import torch_layout

pytestmark = pytest.mark.once

# What no weights tell apart.
TWINS = {"seresnext101d_32x8d": "seresnextaa101d_32x8d"}
TWINS |= {other: one for one, other in TWINS.items()}
# One of each kind of blocks and stem.
SMALLER = [name for name, row in VARIANTS.items() if sum(row.depths) < 10]
SMALLER += ["resnext50_32x4d", "skresnext50_32x4d", "cspresnext50"]


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
    """Write values of two bytes, as there are millions."""
    small = {name: value.astype("float16") for name, value in tensors.items()}
    safetensors.numpy.save_file(small, path)
    return path


@pytest.mark.parametrize("variant", ["seresnext26t_32x4d", "resnext26ts"])
def test_wrong_variant_says_what_it_looks_like(variant, tmp_path):
    """Be it of the same layout, or of another one."""
    path = tmp_path / "w.safetensors"
    tensors, _ = checkpoint(variant)
    with pytest.raises(CheckpointError, match=f"looks like {variant}"):
        load_checkpoint(tinynet.shared(), write(path, tensors))
    rest = {k: v for k, v in tensors.items() if "1.1.conv1" not in k}
    assert len(rest) < len(tensors)
    with pytest.raises(CheckpointError) as info:
        load_checkpoint(tinynet.shared(), write(path, rest))
    assert "looks like" not in str(info.value)


def test_model_from_checkpoint_without_a_head(tmp_path):
    model = keras_resnext.get_model(
        "seresnext26ts", weights=None, include_top=False
    )
    path = tmp_path / "w.safetensors"
    keras_resnext.save_torch_checkpoint(model, path)
    found = keras_resnext.model_from_checkpoint(path, name="mine")
    assert found.name == "mine"
    assert found.output.shape[1:] == (None, None, 2048)
    tinynet.assert_values(found, tinynet.values(model))


def test_checkpoint_of_twins_wants_a_name(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "keras_resnext.weights.checkpoint.looks_like",
        lambda *_: ["one", "other"],
    )
    path = write(tmp_path / "w.safetensors", checkpoint("seresnext26ts")[0])
    with pytest.raises(CheckpointError, match=r"one, other\. Name one"):
        keras_resnext.model_from_checkpoint(path)
