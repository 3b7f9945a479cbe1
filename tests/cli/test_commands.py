"""`keras-resnext`, in this process; its start in a separate one."""

import contextlib
import json
import math
import os
import pathlib

import keras
import numpy as np
import PIL.Image
import pytest
from run_script import run_script

import keras_resnext
from keras_resnext import cli
from keras_resnext import labels

# The smallest number of layers among the variants; 32 pixels.
MODEL = "resnext23s_4x32d"


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command line: its status, standard output and error."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        try:
            status = cli.main([str(word) for word in words])
        except SystemExit as ended:
            status = ended.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "random.weights.h5"
    keras_resnext.get_model(MODEL, weights=None).save_weights(path)
    return path


@pytest.fixture
def image(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80), "uint8")
    PIL.Image.fromarray(pixels).save(tmp_path / "gray.png")
    return "gray.png"


@pytest.mark.once
@pytest.mark.slow
def test_a_script_named_like_the_command_is_a_script(tmp_path):
    script = tmp_path / "keras-resnext.py"
    script.write_text(
        "import keras, keras_resnext\n"
        "from keras_resnext import *\n"
        "print(keras.saving.get_registered_name(layers.Conv2D))\n"
    )
    done = run_script(str(script), cwd=tmp_path)
    assert done.stdout == "keras_resnext>Conv2D\n", done.stderr


def test_list(run):
    status, out, _ = run("list", "--json")
    assert status == 0
    rows = json.loads(out)
    assert [row["name"] for row in rows] == keras_resnext.list_models()
    status, out, _ = run("list", "resnext50*")
    assert status == 0
    lines = [line for line in out.split("\n") if line.startswith("  resnext")]
    words = [line.split() for line in lines]
    assert [each[0] for each in words] == keras_resnext.list_models(
        "resnext50*"
    )
    assert words[0][1:5] == ["3-4-6-3", "32", "224", "a1h_in1k"]


def test_weights(run):
    status, out, _ = run("weights", "resnext50*", "--json")
    assert status == 0
    names = [row["name"] for row in json.loads(out)]
    rows = keras_resnext.list_weights("resnext50*")
    assert names == [row.name for row in rows]
    _, out, _ = run("weights", "--license", "commercial", "--json")
    assert all(row["commercial"] for row in json.loads(out))
    _, out, _ = run("weights", "resnext50_32x4d.tv*")
    names = [line.split()[0] for line in out.split("\n") if "_32x4d" in line]
    assert names == ["resnext50_32x4d.tv2_in1k", "resnext50_32x4d.tv_in1k"]


@pytest.mark.once
def test_info(run):
    status, out, _ = run("info", MODEL, "--json")
    assert status == 0
    found = json.loads(out)
    model = keras_resnext.get_model(MODEL, weights=None)
    assert found["size"] == 32
    assert found["parameters"] == sum(
        math.prod(variable.shape) for variable in model.trainable_weights
    )
    cost = keras_resnext.complexity.multiply_adds(model)
    assert found["multiply_adds"] == cost
    assert found["stages"][-1] == {
        "name": "stage3",
        "blocks": 3,
        "channels": 384,
        "paths": 4,
        "width": 4 * 48,
        "map": 8,
        "receptive_field": found["stages"][-1]["receptive_field"],
    }
    status, out, _ = run("info", MODEL, "--size", 64)
    assert status == 0
    assert "at 64x64" in out
    assert [line.split()[0] for line in out.split("\n") if " x " in line] == [
        "stage1",
        "stage2",
        "stage3",
    ]


def test_export(run, weights, image, tiny, monkeypatch, not_validated):
    backend = keras.config.backend()
    name = "torch" if backend == "torch" else "saved_model"
    keras_resnext.ResNeXt(tiny, classes=3).save("tiny.keras")
    pathlib.Path("labels.txt").write_text("ant\nbee\ncat\n")
    words = "export", "tiny.keras", "out", "--labels", "labels.txt", "--json"
    words += "--formats", name, "--images", image, image
    status, out, err = run(*words)
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert found["ok"]
    assert found["images"] == 2
    assert [row["format"] for row in found["rows"]] == [name]
    assert (pathlib.Path("out") / f"run_{name}.py").exists()
    # The file predicts as the model does.
    line = "predict", image, "--labels", "labels.txt", "--json"
    predicted = [
        run(*line, *words)
        for words in (("--model", "out"), ("--weights", "tiny.keras"))
    ]
    (file,), (model,) = (json.loads(out) for _, out, _ in predicted)
    assert {each["name"] for each in file["classes"]} == {"ant", "bee", "cat"}
    for one, other in zip(file["classes"], model["classes"], strict=True):
        assert one["probability"] == pytest.approx(other["probability"], 1e-4)
    status, _, err = run(
        "predict", image, "--model", "out", "--gradcam", "1.png"
    )
    assert status == 2
    assert "neither --weights nor --gradcam" in err
    called = {}

    def export(*arguments, **options):
        called.update(options)
        raise keras_resnext.ExportError("It differs.")

    monkeypatch.setattr(keras_resnext, "export", export)
    words = "export", MODEL, "out", "--weights", weights, "--normalized"
    assert run(*words)[0] == 1
    assert called["include_preprocessing"] is False
    assert called["representative_data"] is None


def test_benchmark(run):
    words = "benchmark", MODEL, "--batches", 2, "--dtypes", "float32"
    status, out, err = run(*words, "--json")
    assert (status, err) == (0, "")
    rows = json.loads(out)["rows"]
    assert [row["model"] for row in rows] == ["as it is", "folded, float32"]
    for row in rows:
        assert row["images_per_second"] == pytest.approx(2000 / row["ms"])
        assert row["spread"] >= 0


@pytest.mark.once
def test_predict(run, weights, image):
    options = "--model", MODEL, "--weights", weights, "--top", 3
    status, out, err = run("predict", image, *options)
    assert (status, err) == (0, "")
    assert out.split("\n")[0].strip() == image
    shares = [float(w[:-1]) for w in out.split() if w[-1] == "%"]
    assert len(shares) == 3
    assert shares == sorted(shares, reverse=True)


def test_predict_is_the_model_on_transformed_pixels(run, weights, image):
    options = "--model", MODEL, "--weights", weights, "--json"
    status, out, _ = run("predict", image, *options)
    assert status == 0
    [found] = json.loads(out)
    assert found["image"] == image
    model = keras_resnext.get_model(MODEL, weights=weights)
    transform = keras_resnext.EvaluationTransform(resize=36, crop_size=32)
    with PIL.Image.open(image) as image:
        pixels = transform(image)
    predicted = model.predict_on_batch(pixels[None])
    [expected] = keras_resnext.decode_predictions(predicted, top=1000)
    of_class = {wnid: probability for wnid, _, probability in expected}
    probabilities = [each["probability"] for each in found["classes"]]
    for same in (
        [of_class[each["wnid"]] for each in found["classes"]],
        [probability for *_, probability in expected[:5]],
    ):
        np.testing.assert_allclose(probabilities, same, rtol=1e-4)


def test_predict_finds_the_network_of_a_file(run, image, tmp_path):
    # With a number of classes for which no names are known.
    model = keras_resnext.get_model(MODEL, weights=None, classes=4)
    keras_resnext.save_torch_checkpoint(model, tmp_path / "own.safetensors")
    options = "--weights", "own.safetensors", "--top", 4, "--json"
    status, out, _ = run("predict", image, *options)
    assert status == 0
    names = {each["name"] for each in json.loads(out)[0]["classes"]}
    assert names == {f"class {i}" for i in range(4)}
    status, _, err = run("predict", image, *options[:2])
    assert status == 0
    status, _, err = run("predict", image, *options[:2], "--top", 5)
    assert (status, err.count("\n")) == (2, 1)
    assert "--top 5" in err


@pytest.mark.once
def test_predict_names_the_classes_of_the_weights(run, image):
    words = ("predict", image, "--model", f"{MODEL}.cifar10", "--json")
    status, out, _ = run(*words)
    assert status == 0
    (found,) = json.loads(out)
    names = {each["name"] for each in found["classes"]}
    assert names < set(labels.CIFAR10)


@pytest.mark.once
def test_mistakes_get_one_sentence(run, weights, image, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pathlib.Path("text.jpg").write_text("no image")
    pathlib.Path("text.onnx").write_text("no model")
    pathlib.Path("empty").mkdir()
    predict = "predict", image, "--model", MODEL
    expected = {
        (): (2, "COMMAND"),
        ("lst",): (2, "'lst'"),
        ("list", "resnext51_32x4d"): (2, "Did you mean"),
        ("weights", "resnext51_32x4d"): (2, "Did you mean"),
        ("weights", "resnext50_32x4d.a9_in1k"): (2, "Did you mean"),
        ("weights", "--license", "gpl"): (2, "license"),
        ("info", "resnext51"): (2, "There is no variant 'resnext51'"),
        ("info", MODEL, "--size", "0"): (2, "--size"),
        ("predict",): (2, "IMAGE"),
        ("predict", "missing.jpg"): (1, "There is no file 'missing.jpg'"),
        ("predict", "text.jpg"): (1, "'text.jpg' is not an image"),
        ("predict", "empty"): (1, "folder 'empty' has no images"),
        (*predict, "--weights", "missing.pth"): (1, "missing.pth"),
        (*predict, "--top", "0"): (2, "--top"),
        (*predict, "--top", "1001", "--weights", weights): (2, "1000"),
        (*predict, "--weights", "nothing"): (2, "nothing"),
        (*predict, "--gradcam", "out.txt"): (2, ".png"),
        (*predict, "--gradcam", "none/out.png"): (1, "folder 'none'"),
        ("predict", image, "--model", "resnext51"): (2, "'resnext51'"),
        ("predict", image, "--weights", "text.jpg"): (1, "text.jpg"),
        ("export", MODEL, "text.jpg"): (1, "'text.jpg' is not a folder"),
        ("export", MODEL, "out", "--formats", "onxx", "--weights", weights): (
            2,
            "Did you mean 'onnx'",
        ),
        ("export", weights, "out", "--weights", weights): (
            2,
            "leave --weights",
        ),
        ("export", weights, "out"): (2, "the file as --weights"),
        ("export", "resnext51", "out"): (2, "'resnext51'"),
        ("export", MODEL, "out", "--images", "text.jpg"): (1, "text.jpg"),
        ("export", MODEL, "out", "--max-accuracy-drop", "0.01"): (
            2,
            "needs --images FOLDER",
        ),
        ("predict", image, "--model", "nowhere.tflite"): (1, "nowhere.tflite"),
        ("predict", image, "--model", "text.onnx"): (1, "text.onnx"),
        ("benchmark", "resnext51"): (2, "'resnext51'"),
        ("benchmark", MODEL, "--batches", "0"): (2, "--batches"),
    }
    for words, (wanted, part) in expected.items():
        status, out, err = run(*words)
        assert (status, out) == (wanted, ""), (words, err)
        assert err.startswith("keras-resnext: error: "), err
        assert err.count("\n") == 1, err
        assert part in err


def test_weights_out_of_reach_are_a_failure(run, image, monkeypatch):
    def unavailable(*_, **__):
        raise keras_resnext.WeightsUnavailableError("Can't get the weights.")

    monkeypatch.setattr(keras_resnext, "get_model", unavailable)
    status, _, err = run("predict", image)
    assert (status, err) == (
        1,
        "keras-resnext: error: Can't get the weights.\n",
    )


def printed_to(descriptor, capsys, *words):
    """Return a command's exit status and errors, its output in a file."""
    with (
        os.fdopen(descriptor, "w") as output,
        contextlib.redirect_stdout(output),
    ):
        status = cli.main(words)
        # As Python does at its end.
        output.flush()
    return status, capsys.readouterr().err


def test_a_full_disk_is_a_failure(capsys):
    full = os.open("/dev/full", os.O_WRONLY)
    assert printed_to(full, capsys, "list") == (
        1,
        "keras-resnext: error: No space left on device\n",
    )


def test_a_closed_pipe_is_no_traceback(capsys):
    reader, writer = os.pipe()
    os.close(reader)
    assert printed_to(writer, capsys, "weights", "--json") == (1, "")


def test_help_states_the_exit_statuses(run):
    for words in ([], ["list"], ["predict"], ["convert"]):
        status, out, _ = run(*words, "--help")
        assert status == 0
        assert "2 for wrong arguments" in " ".join(out.split())
