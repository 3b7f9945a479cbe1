"""Conversion of weights back to PyTorch; parity tests load them there."""

import dataclasses
import functools
import sys

import keras
import numpy as np
import pytest
import safetensors
import tinynet
import ways
from checkpoint_files import read_checkpoint

import keras_resnext
from keras_resnext import Attention
from keras_resnext import FixedGroupWidth
from keras_resnext import Stem
from keras_resnext.weights.checkpoint import load_checkpoint
from keras_resnext.weights.checkpoint import save_torch_checkpoint

SE = Attention("se")


def filled(**changes):
    config = dataclasses.replace(tinynet.CONFIG, **changes)
    return tinynet.filled(tinynet.shared(config))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "layer1.0.conv2.weight"),
        ({"shortcut": "avg"}, "layer2.0.downsample.1.weight"),
        ({"attention": SE}, "layer1.0.se.fc1.weight"),
        ({"grouping": FixedGroupWidth(16)}, "stages.0.0.conv2_kxk.conv.weight"),
        ({"conv": "selective_kernel"}, "layer1.0.conv2.paths.1.bn.bias"),
        ({"stage": "cross_stage"}, "stages.0.conv_transition_b.conv.weight"),
        (
            {"attention": SE, "stem": Stem(pool="max_ceil")},
            "layer1.0.se_module.fc1.weight",
        ),
    ],
)
def test_every_structure_goes_there_and_back(changes, name, tmp_path):
    model = filled(**changes)
    path = tmp_path / "there.safetensors"
    save_torch_checkpoint(model, path)
    assert name in read_checkpoint(path)
    load_checkpoint(tinynet.filled(model, seed=2), path)
    tinynet.assert_values(model, tinynet.random_values(model, seed=1))


def test_file_says_that_it_is_torchs(tmp_path):
    path = tmp_path / "there.safetensors"
    save_torch_checkpoint(filled(), path)
    with safetensors.safe_open(path, "np") as file:
        assert file.metadata() == {"format": "pt"}
    assert {a.dtype.name for a in read_checkpoint(path).values()} == {"float32"}


def test_half_precision_is_written_as_float32(tmp_path):
    keras.config.set_dtype_policy("bfloat16")
    path = tmp_path / "there.safetensors"
    save_torch_checkpoint(tinynet.build(), path)
    assert {a.dtype.name for a in read_checkpoint(path).values()} == {"float32"}


def test_model_without_its_top(tmp_path):
    path = tmp_path / "there.safetensors"
    save_torch_checkpoint(tinynet.shared(include_top=False), path)
    assert not any(name.startswith("fc") for name in read_checkpoint(path))


# What a state dict can't hold, by the way to build a model or its head.
REFUSED = {
    "normalized": "'normalization'",
    "two_inputs": "'dense'",
    "two_dense": "'dense', 'dense_1'",
    "int8": r"'int8' is quantized \(int8\)",
    "subclassed": "'outer' is a subclassed model",
    "siamese": "'stem_conv1' 2 times",
    "over_time": "within the layer 'time_distributed'",
}


# Each way and each head once, and not each with each.
HEADS = {
    "nested": "logits",
    "sequential": "no_bias",
    "doubly_nested": "softmax_layer",
    "augmented": "dropout_and_softmax",
}


@functools.cache
def plain(config):
    return keras_resnext.ResNeXt(
        config,
        classes=ways.CLASSES,
        classifier_activation=None,
        input_shape=(ways.SIZE, ways.SIZE, 3),
    )


@pytest.mark.parametrize(
    ("way", "head"),
    [
        *((way, HEADS.get(way, "plain")) for way in ways.WAYS),
        *(("flat", head) for head in ("int8", "lora", "two_dense")),
    ],
)
def test_all_weights_of_any_model_are_written_or_none(
    tiny, way, head, tmp_path
):
    model, layers = ways.build_with_head(way, head, tiny)
    path = tmp_path / "there.safetensors"
    if message := REFUSED.get(way, REFUSED.get(head)):
        with pytest.raises(ValueError, match=message):
            save_torch_checkpoint(model, path)
        assert not path.exists()
        return
    save_torch_checkpoint(model, path)
    tensors = read_checkpoint(path)
    lora = 2 * 2 if head == "lora" else 0
    assert len(tensors) == len(model.weights) - lora + (head == "no_bias")
    # Our own model loads it, and computes the same.
    keras.config.set_dtype_policy("float32")
    again = plain(tiny)
    load_checkpoint(again, path)
    inputs = ways.inputs_of(model)
    features = ways.numpy_features(way, layers, model, inputs)
    rough = way == "mixed_precision"
    expected = ways.logits_of(layers, features)
    np.testing.assert_allclose(
        ways.predict(again, ways.pixels_of(way, inputs)),
        expected,
        atol=(1e-2 if rough else 1e-5) * np.abs(expected).max(),
    )


def test_weights_around_the_model_are_refused(tmp_path):
    model = tinynet.shared(include_top=False)
    path = tmp_path / "there.safetensors"
    normalize = keras.layers.Normalization(name="mine")
    inputs = keras.Input((32, 32, 3))
    for outer in (
        keras.Model(
            model.input, keras.layers.Conv2D(4, 1, name="mine")(model.output)
        ),
        keras.Model(inputs, model(normalize(inputs))),
    ):
        with pytest.raises(ValueError, match=r"no place for the weights.*mine"):
            save_torch_checkpoint(outer, path)
    assert not path.exists()


def test_folded_models_are_refused(tmp_path):
    folded = keras_resnext.optimize_for_inference(filled())
    with pytest.raises(ValueError, match="before it was optimized"):
        save_torch_checkpoint(folded, tmp_path / "there.safetensors")


def test_state_dict_without_torch(monkeypatch):
    model = filled()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "torch", None)
        with pytest.raises(ImportError, match="or use save_torch_checkpoint"):
            keras_resnext.to_torch_state_dict(model)


@pytest.mark.parametrize("layout", ["timm", "keras_applications"])
def test_unknown_layout(layout, tmp_path):
    with pytest.raises(ValueError, match=r"timm_resnet.*Received"):
        save_torch_checkpoint(filled(), tmp_path / "a.safetensors", layout)


def test_layout_without_words_for_a_layer(tmp_path):
    model = filled(stage="cross_stage")
    with pytest.raises(ValueError, match="no name for 'stage1_expand_conv'"):
        save_torch_checkpoint(model, tmp_path / "a.safetensors", "timm_resnet")


def test_other_endings(tmp_path):
    with pytest.raises(ValueError, match=r"'\.safetensors'"):
        save_torch_checkpoint(filled(), tmp_path / "weights.pth")


@pytest.mark.parity
def test_state_dict_is_torchs_own():
    import torch

    model = filled()
    state_dict = keras_resnext.to_torch_state_dict(model)
    assert {type(value) for value in state_dict.values()} == {torch.Tensor}
    before = tinynet.values(model)
    state_dict["fc.weight"].zero_()
    np.testing.assert_array_equal(
        tinynet.values(model)["predictions", "kernel"],
        before["predictions", "kernel"],
    )
