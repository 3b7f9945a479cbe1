"""Files by path, and what the argument `weights` means."""

import pathlib

import keras
import numpy as np
import pytest
import safetensors.numpy
import tinynet
from checkpoint_files import write_arrays
from tinynet import filled

import keras_resnext
from keras_resnext import Checkpoint
from keras_resnext import inspect_checkpoint
from keras_resnext.weights import fetch
from keras_resnext.weights.argument import resolve
from keras_resnext.weights.catalog import find_weights
from keras_resnext.weights.checkpoint import load_checkpoint
from keras_resnext.weights.checkpoint import variables_of
from keras_resnext.weights.files import CheckpointError


def tensors_for(kind):
    layout = "keras_applications" if kind == "h5" else "timm_resnet"
    return tinynet.checkpoint(tinynet.shared(), layout=layout)


def write_safetensors(path, tensors):
    safetensors.numpy.save_file(tensors, path)
    return path


def model(**options):
    """Return the model, with other values than any checkpoint here."""
    return filled(tinynet.shared(**options), seed=1)


def assert_refused(model, path, *words):
    before = tinynet.values(model)
    with pytest.raises(CheckpointError) as info:
        load_checkpoint(model, path)
    message = str(info.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    tinynet.assert_values(model, before)


# Checkpoints of others


@pytest.mark.parametrize(
    "layout", ["timm_resnet", "mmpretrain", "keras_applications"]
)
def test_layout_is_told_by_names(layout, tmp_path):
    tensors = tinynet.checkpoint(model(), layout=layout)
    path = write_safetensors(tmp_path / "any.name", tensors)
    load_checkpoint(model(), path)
    built = tinynet.shared()
    tinynet.assert_values(built, tinynet.random_values(built))


def test_weights_of_a_callable(tmp_path):
    tensors = tinynet.checkpoint(model())
    path = write_safetensors(tmp_path / "tiny.safetensors", tensors)
    for weights in (path, str(path)):
        built = tinynet.build(weights=weights)
        tinynet.assert_values(built, tinynet.random_values(built))


def test_model_is_untouched_when_a_tensor_is_wrong(tmp_path):
    tensors = tinynet.checkpoint(model())
    bias = tensors.pop("fc.bias")
    path = tmp_path / "file"
    for more, words in [
        ({}, "Missing from the checkpoint: fc.bias."),
        ({"fc.bias": bias, "layer9.x": bias}, "the model: layer9.x."),
        ({"fc.bias": bias * np.float32(np.nan)}, "NaN"),
        ({"fc.bias": np.zeros(6, "float32")}, "6 classes"),
    ]:
        write_safetensors(path, tensors | more)
        assert_refused(model(), path, words)


# Each kind of file and each precision once, and not each with each.
@pytest.mark.once
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("zip", "bfloat16"), ("legacy", "float64"), ("h5", "float16")],
)
def test_tensor_of_other_numbers_is_named(kind, dtype, tmp_path):
    tensors = {n: t.astype(dtype) for n, t in tensors_for(kind).items()}
    path = write_arrays(tmp_path / "file", kind, tensors)
    load_checkpoint(model(), path)
    kernel = tinynet.values(tinynet.shared())["stem_conv1", "kernel"]
    before = tinynet.random_values(tinynet.shared())["stem_conv1", "kernel"]
    np.testing.assert_array_equal(kernel, before.astype(dtype).astype("f4"))
    name = list(tensors)[7]
    tensors[name].flat[-1] = np.nan
    write_arrays(path, kind, tensors)
    words = f"contains NaN or infinity in the checkpoint's '{name}'"
    assert_refused(model(), path, words)


def test_layers_before_the_network_are_left_alone(tmp_path):
    inputs = keras.Input((32, 32, 3))
    scale = keras.layers.Normalization(mean=1.0, variance=4.0, name="scale")
    whole = tinynet.build(
        tinynet.SMALLEST,
        input_tensor=keras.layers.Dense(3, name="mix")(scale(inputs)),
    )
    built = tinynet.shared(tinynet.SMALLEST)
    mix = tinynet.values(whole)["mix", "kernel"]
    tensors = tinynet.checkpoint(built)
    load_checkpoint(whole, write_safetensors(tmp_path / "file", tensors))
    actual = tinynet.values(whole)
    np.testing.assert_array_equal(actual["mix", "kernel"], mix)
    for key, value in tinynet.random_values(built).items():
        np.testing.assert_array_equal(actual[key], value)


def test_variables_are_told_by_their_path_below_the_layer():
    inputs = keras.Input((4,))
    with keras.name_scope("norm"):
        x = keras.layers.Dense(4, name="head")(Norms(name="norm")(inputs))
    model = keras.Model(inputs, x)
    keys = [key for key, _ in variables_of(model)]
    assert keys == [
        ("norm", "a_norm/scale"),
        ("norm", "b_norm/scale"),
        ("head", "kernel"),
        ("head", "bias"),
    ]


class Norms(keras.layers.Layer):
    def build(self, input_shape):
        self.a = keras.layers.RMSNormalization(name="a_norm")
        self.b = keras.layers.RMSNormalization(name="b_norm")
        self.a.build(input_shape)
        self.b.build(input_shape)

    def call(self, inputs):
        return self.a(self.b(inputs))


# What does not exist


@pytest.mark.parametrize("name", ["no.pth", "no.keras", "no.weights.h5"])
def test_missing_file(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=name):
        load_checkpoint(tinynet.shared(), pathlib.Path(name))
    with pytest.raises(FileNotFoundError, match="There is no checkpoint file"):
        inspect_checkpoint(tmp_path / name)


@pytest.mark.parametrize("name", ["folder", "folder.keras"])
def test_folder(name, tmp_path):
    (tmp_path / name).mkdir()
    with pytest.raises(CheckpointError, match="is not a file"):
        load_checkpoint(tinynet.shared(), tmp_path / name)


# What `weights` means


def test_resolve():
    variant = "resnext50_32x4d"
    row = find_weights(variant, "tv2_in1k")
    assert resolve(None, variant) is None
    assert resolve("tv2_in1k", variant) is row
    assert resolve("resnext50_32x4d.tv2_in1k", variant) is row
    assert resolve("imagenet", variant).variant == variant
    for path in ("some/file", pathlib.Path("file")):
        assert resolve(path, variant) is resolve(path, None) is path
    with pytest.raises(ValueError, match="Use weights=None or the path"):
        resolve("imagenet", None)
    with pytest.raises(ValueError, match="has no checkpoint 'file'"):
        resolve("file", variant)


def test_folder_does_not_hide_a_tag(tmp_path, monkeypatch):
    """Datasets often lie in a folder `imagenet`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "imagenet").mkdir()
    (tmp_path / "mine.pth").touch()
    variant = "resnext50_32x4d"
    assert resolve("imagenet", variant).variant == variant
    assert resolve("mine.pth", variant) == "mine.pth"


# What a file says of itself


@pytest.mark.once
@pytest.mark.parametrize("layout", ["timm_resnet", "keras_applications"])
@pytest.mark.parametrize(("head", "classes"), [(True, 5), (False, None)])
def test_layout_classes_and_tensors(layout, head, classes, tmp_path):
    built = tinynet.shared(include_top=head)
    tensors = tinynet.checkpoint(built, layout=layout)
    path = write_safetensors(tmp_path / "w.safetensors", tensors)
    assert inspect_checkpoint(str(path)) == Checkpoint(
        layout, (), classes, len(tensors)
    )


# From one file to another


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_written_without_a_model(kind, tmp_path):
    tensors = tensors_for(kind)
    path = write_arrays(tmp_path / "w.pth", kind, tensors)
    with Checkpoint.open(path) as checkpoint:
        checkpoint.write(tmp_path / "w.safetensors")
        with pytest.raises(ValueError, match="must end in"):
            checkpoint.write(tmp_path / "w.pth")
    assert checkpoint.tensors == {}
    assert inspect_checkpoint(tmp_path / "w.safetensors") == checkpoint
    written = safetensors.numpy.load_file(tmp_path / "w.safetensors")
    assert written.keys() == tensors.keys()
    for name, value in tensors.items():
        np.testing.assert_array_equal(written[name], value)


def test_layouts_that_timm_does_not_read(tmp_path):
    built = model()
    built.save_weights(tmp_path / "w.weights.h5")
    path = write_arrays(tmp_path / "w.h5", "h5", tensors_for("h5"))
    for source in (tmp_path / "w.weights.h5", path):
        with Checkpoint.open(source) as checkpoint:
            with pytest.raises(ValueError, match="timm does not read"):
                checkpoint.write(tmp_path / "w.safetensors")
            checkpoint.assign(built)
        Checkpoint.of_model(built).write(tmp_path / "w.safetensors")


# What is public


def test_file_into_a_model_that_is_there(tmp_path):
    path = tmp_path / "tiny.safetensors"
    keras_resnext.save_torch_checkpoint(model(), path)
    built = filled(tinynet.shared(), seed=2)
    record = find_weights("resnext50_32x4d", "imagenet")
    built.weights_info = record
    assert built.weights_info is record
    keras_resnext.load_checkpoint(built, path)
    tinynet.assert_values(built, tinynet.random_values(built, 1))
    assert built.weights_info is None


def test_download_by_name(monkeypatch):
    monkeypatch.setattr(fetch, "fetch", lambda record: record.name)
    for name in ("resnext50_32x4d", "resnext50_32x4d.a1_in1k"):
        tag = name.partition(".")[2] or "imagenet"
        record = find_weights("resnext50_32x4d", tag)
        assert keras_resnext.download_weights(name) == record.name
    with pytest.raises(ValueError, match="resnext51"):
        keras_resnext.download_weights("resnext51")
