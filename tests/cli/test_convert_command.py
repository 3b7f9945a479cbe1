"""`keras-resnext convert`: there and back, and wrong arguments."""

import contextlib
import os
import pathlib
import resource
import signal

import hub_cache
import keras
import numpy as np
import pytest
import safetensors.numpy
from run_script import assert_one_sentence
from run_script import run_commands
from small_variants import shrink

import keras_resnext
from keras_resnext import atomic_files

pytestmark = pytest.mark.once

MODEL = "resnext26ts"
SHAPE = (None, None, 3)
UNAVAILABLE = "gcresnext26ts.ch_in1k"
CONVERSIONS = {
    "to keras": ["a.safetensors", "a.keras"],
    "to weights": ["a.keras", "a.weights.h5"],
    "and back": ["a.weights.h5", "back.safetensors", "--model", MODEL],
    "no name of ours": ["tiny.keras", "tiny.safetensors"],
    "no classifier": ["features.safetensors", "features.weights.h5"],
    "by its variant": [MODEL, "named.weights.h5"],
    "itself": ["tiny.keras", "tiny.keras", "--force"],
}
MISTAKES = {
    "ending": (["a.safetensors", "b.h5"], "OUTPUT must end in .weights.h5"),
    "there": (["a.safetensors", "tiny.keras"], "--force replaces it"),
    "no folder": (["a.safetensors", "no/b.keras"], "no folder 'no'"),
    "a folder": (["a.safetensors", "folder.keras"], "'folder.keras' is a f"),
    "missing": (["no.pth", "b.keras"], "There is no checkpoint file no.pth"),
    "not one": (["text.pth", "b.keras"], "text.pth"),
    "not told": (["a.weights.h5", "b.keras"], "Name it with --model"),
    "wrong model": (
        ["a.safetensors", "b.keras", "--model", "resnext50_32x4d"],
        f"It looks like {MODEL}",
    ),
    "wrong weights": (
        ["a.weights.h5", "b.keras", "--model", "gcresnext26ts"],
        "does not fit the model 'gcresnext26ts'",
    ),
    "no model": (
        ["a.weights.h5", "b.keras", "--model", "resnext51"],
        "There is no variant 'resnext51'",
    ),
    "told twice": (
        ["tiny.keras", "b.safetensors", "--model", MODEL],
        "leave --model out",
    ),
    "named twice": (
        ["resnext26ts.ra2_in1k", "b.keras", "--model", MODEL],
        "leave --model out",
    ),
    "unknown": (["resnext51.a1_in1k", "b.keras"], "no variant 'resnext51'"),
    "no tag": (["resnext26ts.a1_in1k", "b.keras"], "Use `None`, 'imagenet'"),
    "another": (
        ["other.keras", "b.safetensors"],
        "'other' must be a model built by",
    ),
    "more": (["more.keras", "b.safetensors"], "only for those of a ResNeXt"),
    "damaged": (["damaged.keras", "b.safetensors"], "damaged.keras"),
    "cut": (["cut.weights.h5", "b.keras", "--model", MODEL], "cut.weights.h5"),
}
WRONG_USAGE = {
    *("ending", "not told", "no model", "told twice", "named twice"),
    *("unknown", "no tag"),
}
FULL = ["full.weights.h5", "full.keras", "full.safetensors"]


def filled(model):
    """Return random weights, no two of them equal."""
    rng = np.random.default_rng(0)
    for variable in model.weights:
        value = rng.normal(size=variable.shape).astype("float32")
        variance = variable.name == "moving_variance"
        variable.assign(np.abs(value) if variance else value)
    return model


def write_files(tiny):
    """Write all files to convert to the working folder."""
    model = filled(
        keras_resnext.get_model(
            MODEL, weights=None, classes=7, input_shape=SHAPE
        )
    )
    keras_resnext.save_torch_checkpoint(model, "a.safetensors")
    whole = keras_resnext.get_model(MODEL, weights=None)
    keras_resnext.save_torch_checkpoint(whole, "whole.safetensors")
    hub_cache.put(pathlib.Path("whole.safetensors"), pathlib.Path("hub"))
    features = keras.Model(model.input, model.layers[-3].output)
    keras_resnext.save_torch_checkpoint(features, "features.safetensors")
    small = filled(keras_resnext.ResNeXt(tiny, classes=5))
    small.save("tiny.keras")
    more = keras.layers.Dense(2, name="more")(small.output)
    keras.Model(small.input, more).save("more.keras")
    inputs = keras.Input((4,))
    other = keras.layers.Dense(2)(inputs)
    keras.Model(inputs, other, name="other").save("other.keras")
    pathlib.Path("text.pth").write_text("no checkpoint")
    for name in ("damaged.keras", "cut.weights.h5"):
        pathlib.Path(name).write_bytes(b"PK\x03\x04 and no more")
    pathlib.Path("folder.keras").mkdir()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny):
    path = tmp_path_factory.mktemp("convert")
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch, MODEL, "gcresnext26ts")
        with contextlib.chdir(path):
            write_files(tiny)
        yield path


@contextlib.contextmanager
def interrupted(path, whole=atomic_files.replacing):
    """Replace a file, interrupted by the signal or the error of its name.

    A file named `full` may not grow over 10 kB, as if the disk were full.
    """
    name = pathlib.Path(path).name.partition(".")[0]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if name == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with whole(path) as part:
            yield part
            if hasattr(signal, name):
                signal.raise_signal(getattr(signal, name))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture(scope="module")
def results(folder):
    """Return the output of each command line, by its subject."""
    lines = {
        **CONVERSIONS,
        **{name: line for name, (line, _) in MISTAKES.items()},
        "unavailable": [UNAVAILABLE, "b.keras"],
        "SIGINT": ["tiny.keras", "SIGINT.weights.h5"],
        "SIGTERM": ["tiny.keras", "SIGTERM.weights.h5"],
        **{name: ["tiny.keras", name] for name in FULL},
    }
    # Shells let background processes ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.MonkeyPatch.context() as patch:
        hub_cache.offline(patch, folder / "hub")
        patch.setattr(atomic_files, "replacing", interrupted)
        found = run_commands(
            [["convert", *line] for line in lines.values()], folder
        )
    signal.signal(signal.SIGINT, before)
    return dict(zip(lines, found, strict=True))


@pytest.mark.parametrize("name", CONVERSIONS)
def test_succeeds_silently(results, name):
    assert results[name].stderr == ""
    assert results[name].status == 0
    assert "\ncheck          identical" in results[name].stdout


def test_there_and_back(results, folder):
    before, after = (
        safetensors.numpy.load_file(folder / f"{name}.safetensors")
        for name in ("a", "back")
    )
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert tensor.tobytes() == after[name].tobytes(), name


def test_keras_opens_what_was_written(results, folder):
    model = keras_resnext.model_from_checkpoint(folder / "a.safetensors")
    converted = keras.saving.load_model(folder / "a.keras")
    assert converted.input_shape == (None, None, None, 3)
    named = keras_resnext.get_model(
        MODEL, weights=folder / "a.weights.h5", classes=7
    )
    for other in (converted, named):
        assert other.name == MODEL
        for one, two in zip(model.weights, other.weights, strict=True):
            assert one.path == two.path
            np.testing.assert_array_equal(
                *map(keras.ops.convert_to_numpy, (one.value, two.value))
            )


def test_summary(results, folder):
    sizes = [
        f"{os.path.getsize(folder / name) / 1e6:.1f} MB"
        for name in ("a.safetensors", "a.keras")
    ]
    tensors = len(safetensors.numpy.load_file(folder / "a.safetensors"))
    whole = keras_resnext.complexity.num_parameters(
        keras_resnext.get_model(MODEL, weights=None)
    )
    # 384 features, and 384 classes fewer than ImageNet's.
    parameters = whole - 993 * 385
    assert results["to keras"].stdout == (
        "model          resnext26ts\n"
        f"source         a.safetensors ({sizes[0]})\n"
        "layout         timm_byob\n"
        "classes        7\n"
        f"parameters     {parameters:,}\n"
        f"tensors        {tensors} read, {tensors} written\n"
        f"output         a.keras ({sizes[1]})\n"
        "check          identical: loaded again, every weight is equal bit for "
        "bit\n"
    )
    named = results["by its variant"].stdout
    assert f"source         {hub_cache.RECORD} (" in named
    assert " MB, apache-2.0)\nlayout         timm_byob\n" in named
    assert f"classes        1,000\nparameters     {whole:,}\n" in named
    assert "classes        none\n" in results["no classifier"].stdout
    assert "layout         keras\n" in results["and back"].stdout


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_get_one_sentence(results, name):
    assert results[name].status == (2 if name in WRONG_USAGE else 1)
    assert_one_sentence(results[name].stderr, MISTAKES[name][1])
    assert results[name].stdout == ""


def test_unavailable_weights_get_one_sentence(results):
    status, stderr, _ = results["unavailable"]
    assert status == 1
    assert_one_sentence(stderr, f"Can't get the weights '{UNAVAILABLE}'")


@pytest.mark.parametrize("name", FULL)
def test_a_full_disk_gets_one_sentence(results, name):
    assert results[name].status
    stderr = results[name].stderr
    assert_one_sentence(stderr, f"Can't write '{name}': File too large.")


def test_stopping_leaves_nothing(results):
    said = "Stopped.\n"
    assert results["SIGINT"] == (130, said, "")
    assert results["SIGTERM"] == (143, "", "")


def test_failures_leave_nothing(results, folder):
    left = {path.name for path in folder.iterdir()}
    unwanted = (".new-", "b.", "SIG", "full")
    assert not {name for name in left if name.startswith(unwanted)}
