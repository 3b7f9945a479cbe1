"""Files by path, and what the argument `weights` means."""

import json
import pathlib
import zipfile
from dataclasses import replace

import h5py
import keras
import numpy as np
import pytest
import safetensors.numpy
import tinynet
from checkpoint_files import write_arrays

import keras_resnext
from keras_resnext import Checkpoint
from keras_resnext import finetuning
from keras_resnext import inspect_checkpoint
from keras_resnext.weights import fetch
from keras_resnext.weights.catalog import find_weights
from keras_resnext.weights.checkpoint import load_checkpoint
from keras_resnext.weights.checkpoint import resolve
from keras_resnext.weights.checkpoint import variables_of
from keras_resnext.weights.files import CheckpointError

# Keras' jax backend, as it saves, meets a deprecation of NumPy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept"
)


FORMATS = pytest.mark.parametrize(
    "kind", ["safetensors", "zip", "legacy", "h5"]
)


def tensors_for(kind):
    layout = "keras_applications" if kind == "h5" else "timm_resnet"
    return tinynet.checkpoint(tinynet.build(), layout=layout)


def write_safetensors(path, tensors):
    safetensors.numpy.save_file(tensors, path)
    return path


def filled(model, seed=1):
    variables = dict(variables_of(model))
    for key, value in tinynet.random_values(model, seed).items():
        variables[key].assign(value)
    return model


def save(model, path):
    (model.save if path.suffix == ".keras" else model.save_weights)(path)
    return path


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
    model = tinynet.build()
    tensors = tinynet.checkpoint(model, layout=layout)
    load_checkpoint(model, write_safetensors(tmp_path / "any.name", tensors))
    tinynet.assert_values(model, tinynet.random_values(model))
    assert model.weights_info is None


@pytest.mark.parity
@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoint_as_mmpretrain_publishes_it(zipped, tmp_path):
    torch = pytest.importorskip("torch")
    model = tinynet.build()
    weights = {
        name: torch.from_numpy(tensor)
        for name, tensor in tinynet.checkpoint(
            model, layout="mmpretrain"
        ).items()
    }
    weights["backbone.bn1.num_batches_tracked"] = torch.tensor(7)
    meta = {"mmcls_version": "0.12.0", "CLASSES": ("tench",), "epoch": 100}
    path = tmp_path / "model.pth"
    torch.save(
        {"meta": meta, "state_dict": weights},
        path,
        _use_new_zipfile_serialization=zipped,
    )
    load_checkpoint(model, path)
    tinynet.assert_values(model, tinynet.random_values(model))


def test_weights_of_a_callable(tmp_path):
    tensors = tinynet.checkpoint(tinynet.build())
    path = write_safetensors(tmp_path / "tiny.safetensors", tensors)
    for weights in (path, str(path)):
        model = tinynet.build(weights=weights)
        tinynet.assert_values(model, tinynet.random_values(model))


def test_file_for_another_network(tmp_path):
    model = filled(tinynet.build())
    tensors = tinynet.checkpoint(model)
    bias = tensors.pop("fc.bias")
    path = write_safetensors(tmp_path / "file", tensors)
    assert_refused(model, path, "Missing from the checkpoint: fc.bias.")
    tensors |= {"fc.bias": bias, "layer9.x": bias}
    path = write_safetensors(tmp_path / "file", tensors)
    assert_refused(model, path, "Unknown to the model: layer9.x.")


def test_model_is_untouched_when_the_last_tensor_is_wrong(tmp_path):
    model = filled(tinynet.build())
    tensors = tinynet.checkpoint(model)
    tensors["fc.bias"][-1] = np.nan
    path = write_safetensors(tmp_path / "file", tensors)
    assert_refused(model, path, "NaN")
    tensors["fc.bias"] = np.zeros(6, "float32")
    path = write_safetensors(tmp_path / "file", tensors)
    assert_refused(model, path, "6 classes")


@FORMATS
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_precisions(kind, dtype, tmp_path):
    model = filled(tinynet.build())
    rounded = {
        name: tensor.astype(dtype) for name, tensor in tensors_for(kind).items()
    }
    load_checkpoint(model, write_arrays(tmp_path / "file", kind, rounded))
    exact = {name: t.astype("float32") for name, t in rounded.items()}
    other = tinynet.build(weights=write_arrays(tmp_path / "other", kind, exact))
    tinynet.assert_values(model, tinynet.values(other))
    before = tinynet.random_values(model)["stem_conv1", "kernel"]
    kernel = tinynet.values(model)["stem_conv1", "kernel"]
    assert np.allclose(kernel, before, rtol=0.01)
    assert (dtype == "float64") == np.array_equal(kernel, before)


@FORMATS
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_tensor_that_is_not_finite_is_named(kind, dtype, tmp_path):
    tensors = {n: t.astype(dtype) for n, t in tensors_for(kind).items()}
    name = list(tensors)[7]
    tensors[name].flat[-1] = np.nan
    path = write_arrays(tmp_path / "file", kind, tensors)
    words = f"holds NaN or infinity in the checkpoint's '{name}'"
    assert_refused(filled(tinynet.build()), path, words)


@FORMATS
def test_tensor_of_integers_is_named(kind, tmp_path):
    tensors = tensors_for(kind)
    name = list(tensors)[7]
    tensors[name] = tensors[name].astype("int8")
    path = write_arrays(tmp_path / "file", kind, tensors)
    words = f"floating-point numbers, but the checkpoint's '{name}' holds int8"
    assert_refused(filled(tinynet.build()), path, words)


def test_layers_before_the_network_are_left_alone(tmp_path):
    inputs = keras.Input((32, 32, 3))
    scale = keras.layers.Normalization(mean=1.0, variance=4.0, name="scale")
    model = tinynet.build(
        input_tensor=keras.layers.Dense(3, name="mix")(scale(inputs))
    )
    mix = tinynet.values(model)["mix", "kernel"]
    tensors = tinynet.checkpoint(tinynet.build())
    load_checkpoint(model, write_safetensors(tmp_path / "file", tensors))
    expected = tinynet.random_values(tinynet.build())
    actual = tinynet.values(model)
    np.testing.assert_array_equal(actual["mix", "kernel"], mix)
    for key, value in expected.items():
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


# What Keras saves

SUFFIXES = pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])


@SUFFIXES
def test_keras_file(suffix, tmp_path):
    saved = filled(tinynet.build())
    path = save(saved, tmp_path / f"model{suffix}")
    model = tinynet.build(weights=path)
    tinynet.assert_values(model, tinynet.values(saved))
    assert model.weights_info is None


@SUFFIXES
def test_keras_file_without_the_classifier(suffix, tmp_path):
    saved = filled(tinynet.build())
    path = save(saved, tmp_path / f"model{suffix}")
    model = tinynet.build(include_top=False)
    load_checkpoint(model, path)
    own, expected = tinynet.shapes(model), tinynet.values(saved)
    tinynet.assert_values(model, {key: expected[key] for key in own})
    # And it can't lend a classifier that it hasn't got.
    path = save(model, tmp_path / f"features{suffix}")
    assert_refused(saved, path, "does not fit the model")


@SUFFIXES
@pytest.mark.parametrize("depths", [(2, 1), (1, 2)])
def test_keras_file_of_another_depth(suffix, depths, tmp_path):
    deeper = filled(tinynet.build(replace(tinynet.CONFIG, depths=depths)))
    model = filled(tinynet.build())
    path = save(deeper, tmp_path / f"deeper{suffix}")
    assert_refused(model, path, "does not fit the model 'resnext'")
    path = save(model, tmp_path / f"shallower{suffix}")
    assert_refused(deeper, path, "does not fit the model 'resnext'")


@SUFFIXES
def test_keras_file_with_a_layer_of_layers_more(suffix, tmp_path):
    inputs = keras.Input((4,))
    more = Norms(name="stage1_block1_attention")
    path = save(keras.Model(inputs, more(inputs)), tmp_path / f"more{suffix}")
    with pytest.raises(
        CheckpointError,
        match="2 weights more, such as weight 0 of 'stage1_block1_att",
    ):
        load_checkpoint(keras.Model(inputs, inputs), path)


@SUFFIXES
def test_keras_file_of_other_classes(suffix, tmp_path):
    model = filled(tinynet.build())
    other = finetuning.replace_classifier(model, 7)
    path = save(other, tmp_path / f"model{suffix}")
    assert_refused(model, path, "does not fit", "predictions")


@SUFFIXES
def test_keras_file_of_something_else(suffix, tmp_path):
    inputs = keras.Input((4,))
    other = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    path = save(other, tmp_path / f"model{suffix}")
    assert_refused(tinynet.build(), path, "does not fit")


@SUFFIXES
def test_damaged_keras_file(suffix, tmp_path):
    model = filled(tinynet.build())
    content = save(model, tmp_path / f"model{suffix}").read_bytes()
    path = tmp_path / f"damaged{suffix}"
    for damaged in [
        b"",
        b"no such thing",
        content[: len(content) // 2],
        content[:-100],
    ]:
        path.write_bytes(damaged)
        assert_refused(model, path, path.name, "damaged")


def test_keras_archive_without_weights(tmp_path):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({}))
    assert_refused(tinynet.build(), path, "holds no model.weights.h5")


def test_half_loaded_keras_file_is_taken_back(tmp_path):
    """The last layer of the file is broken, when others are loaded."""
    model = filled(tinynet.build())
    path = save(tinynet.build(), tmp_path / "model.weights.h5")
    with h5py.File(path, "a") as file:
        del file["layers/classifier/vars/1"]
    assert_refused(model, path, "does not fit")


# What does not exist


@pytest.mark.parametrize("name", ["no.pth", "no.keras", "no.weights.h5"])
def test_missing_file(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=name):
        tinynet.build(weights=tmp_path / name)
    with pytest.raises(FileNotFoundError, match=name):
        load_checkpoint(tinynet.build(), pathlib.Path(name))
    with pytest.raises(FileNotFoundError, match="There is no checkpoint file"):
        inspect_checkpoint(tmp_path / name)


@pytest.mark.parametrize("name", ["folder", "folder.keras"])
def test_folder(name, tmp_path):
    (tmp_path / name).mkdir()
    with pytest.raises(CheckpointError, match="is not a file"):
        tinynet.build(weights=tmp_path / name)


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
    """Data sets often lie in a folder `imagenet`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "imagenet").mkdir()
    (tmp_path / "mine.pth").touch()
    variant = "resnext50_32x4d"
    assert resolve("imagenet", variant).variant == variant
    assert resolve("mine.pth", variant) == "mine.pth"


# What a file says of itself


@pytest.mark.parametrize("layout", ["timm_resnet", "keras_applications"])
@pytest.mark.parametrize(("head", "classes"), [(True, 5), (False, None)])
def test_layout_classes_and_tensors(layout, head, classes, tmp_path):
    model = tinynet.build(include_top=head)
    path = tmp_path / "w.safetensors"
    tensors = tinynet.checkpoint(model, layout=layout)
    safetensors.numpy.save_file(tensors, path)
    assert inspect_checkpoint(path) == Checkpoint(
        layout, (), classes, len(tensors)
    )


def test_variants(tmp_path):
    model = keras_resnext.get_model("resnext26ts", weights=None, classes=3)
    path = tmp_path / "w.safetensors"
    keras_resnext.save_torch_checkpoint(model, path)
    info = inspect_checkpoint(str(path))
    assert info.variants == ("resnext26ts",)
    assert (info.layout, info.classes) == ("timm_byob", 3)


@pytest.mark.parametrize("name", ["w.weights.h5", "w.keras"])
@pytest.mark.parametrize(("head", "classes"), [(True, 5), (False, None)])
def test_files_of_keras(name, head, classes, tmp_path):
    model = tinynet.build(include_top=head)
    save = model.save if name == "w.keras" else model.save_weights
    save(tmp_path / name)
    assert inspect_checkpoint(tmp_path / name) == Checkpoint(
        "keras", (), classes, len(model.weights)
    )


@pytest.mark.parametrize("name", ["w.weights.h5", "w.keras", "w.pth"])
@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04"])
def test_damaged_file(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError) as info:
        inspect_checkpoint(tmp_path / name)
    message = str(info.value)
    assert name in message
    assert "\n" not in message


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
    model = filled(tinynet.build())
    for path in (
        save(model, tmp_path / "w.weights.h5"),
        write_arrays(tmp_path / "w.h5", "h5", tensors_for("h5")),
    ):
        with Checkpoint.open(path) as checkpoint:
            with pytest.raises(ValueError, match="timm does not read"):
                checkpoint.write(tmp_path / "w.safetensors")
            checkpoint.assign(model)
        Checkpoint.of_model(model).write(tmp_path / "w.safetensors")


# What is public


def test_file_into_a_model_that_is_there(tmp_path):
    saved = filled(tinynet.build())
    path = tmp_path / "tiny.safetensors"
    keras_resnext.save_torch_checkpoint(saved, path)
    model = tinynet.build()
    record = find_weights("resnext50_32x4d", "imagenet")
    model.weights_info = record
    assert model.weights_info is record
    keras_resnext.load_checkpoint(model, path)
    tinynet.assert_values(model, tinynet.values(saved))
    assert model.weights_info is None


def test_download_by_name(monkeypatch):
    monkeypatch.setattr(fetch, "fetch", lambda record: record.name)
    for name in ("resnext50_32x4d", "resnext50_32x4d.a1_in1k"):
        tag = name.partition(".")[2] or "imagenet"
        record = find_weights("resnext50_32x4d", tag)
        assert keras_resnext.download_weights(name) == record.name
    with pytest.raises(ValueError, match="resnext51"):
        keras_resnext.download_weights("resnext51")
