"""The command `finetune`, on folders of images."""

import json
import sys

import hub_cache
import keras
import numpy as np
import PIL.Image
import pytest
from run_script import assert_one_sentence
from run_script import run_commands
from small_variants import shrink

import keras_resnext
from keras_resnext import cli
from keras_resnext.exporting import conversion
from keras_resnext.exporting.base import Format

SMALL = "resnext23s_4x32d"
FORMATS = ["saved_model", "tflite"]


def save_image(path, seed, color):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 99, (40, 50, 3), "uint8")
    pixels[..., color] += 150
    PIL.Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def colors(tmp_path_factory):
    """Write a folder of two folders of images, reddish and bluish ones."""
    folder = tmp_path_factory.mktemp("data") / "colors"
    for i in range(20):
        save_image(folder / "red" / f"{i}.png", i, 0)
        save_image(folder / "blue" / f"{i}.jpg", 100 + i, 2)
    return folder


def converted(model, formats, backend, folder, begin):
    for each in formats:
        (folder / each.file).touch()


@pytest.mark.parametrize(
    "real", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_finetune_in_two_phases(
    colors, tmp_path, monkeypatch, capsys, request, real
):
    monkeypatch.chdir(tmp_path)
    line = ["finetune", str(colors), "--model", SMALL, "--epochs", "3"]
    line += ["--batch-size", "16"]
    if not real:
        shrink(monkeypatch, SMALL)
        model = keras_resnext.get_model(SMALL, weights=None)
        model.save_weights("small.weights.h5")
        line += ["--weights", "small.weights.h5"]
        # No file is written either.
        request.getfixturevalue("not_validated")
        monkeypatch.setattr(
            Format, "write", lambda _, model, path: path.touch()
        )
        monkeypatch.setattr(conversion, "write", converted)
    # Existing files are replaced, and no others are changed.
    output = tmp_path / "runs" / f"colors-{SMALL}"
    (output / "saved_model").mkdir(parents=True)
    (output / "saved_model" / "old").touch()
    (output / "mine").touch()
    monkeypatch.setattr(sys, "argv", ["keras-resnext", *line])
    reports = []

    def export(*arguments, whole=keras_resnext.export, **options):
        reports.append(whole(*arguments, **options))
        return reports[0]

    monkeypatch.setattr(keras_resnext, "export", export)
    assert cli.main(line) == 0
    printed = capsys.readouterr().out
    for name in ("curves.png", "confusion.png", "predictions.png"):
        with PIL.Image.open(output / name) as image:
            assert min(image.size) > 200
        assert name in printed
    record = json.loads((output / "result.json").read_text())
    assert record["images"] == {"train": 32, "validation": 4, "test": 4}
    assert record["phases"] == [1, 2]
    accuracy = f"{record['test_accuracy']:.2%} of 4 test images right"
    assert accuracy in printed
    assert "test loss" not in printed  # of a phase
    assert [file["format"] for file in record["files"]] == FORMATS
    for file in record["files"]:
        assert f" {file['format']} " in printed  # as a table
        assert file["difference"] <= 1e-4
        assert (output / f"run_{file['format']}.py").exists()
    assert (output / "classifier" / "last.keras").exists()
    assert (output / "labels.txt").read_text() == "blue\nred\n"
    assert not list(output.glob(".new-*"))
    assert (output / "mine").exists()
    assert not (output / "saved_model" / "old").exists()

    model = keras.saving.load_model(output / "model.keras")
    best = keras.saving.load_model(output / "all" / "best.keras")
    np.testing.assert_array_equal(model.get_weights()[0], best.get_weights()[0])
    assert keras_resnext.get_data_config(model).labels == ("blue", "red")
    if not real:
        return

    # Nothing is left to do, and the same results; one export is enough.
    monkeypatch.setattr(keras_resnext, "export", lambda *_, **__: reports[0])
    assert cli.main([*line, "--resume"]) == 0
    again = json.loads((output / "result.json").read_text())
    assert again["test_accuracy"] == record["test_accuracy"]


OURS = ["--model", SMALL]
ON_COLORS = ["colors", *OURS]
MISTAKES = {
    "unknown model": (["colors", "--model", "resnext51"], 2, "'resnext51'"),
    "unknown recipe": (
        [*ON_COLORS, "--recipe", "finetun"],
        *(2, "Did you mean 'finetune'"),
    ),
    "unknown dataset": (["tf_flower", *OURS], 1, "Did you mean 'tf_flowers'"),
    "no folder": (["no/folder", *OURS], 1, "neither a folder nor a dataset"),
    "empty": (["empty", *OURS], 1, "at least two folders of images"),
    "one class": (["one_class", *OURS], 1, "at least two folders of images"),
    "few images": (["few", *OURS], 1, "too few images"),
    "not an image": (["broken", *OURS], 1, "2.jpg' is not an image"),
    "no labels": (["coco", *OURS], 1, "does not contain images with one label"),
    "no epochs": (
        [*ON_COLORS, "--epochs", "0"],
        2,
        "from 1, not '0'",
    ),
    "no number": ([*ON_COLORS, "--batch-size", "many"], 2, "'many'"),
    "field": (
        [*ON_COLORS, "--set", "learning_rat=1"],
        *(2, "Did you mean 'learning_rate'"),
    ),
    "size": ([*ON_COLORS, "--size", "3"], 2, "at least 4x4 pixels"),
    "other size": (
        [*ON_COLORS, "--recipe", "cifar_short", "--batch-size", 8],
        *(1, "for images of 32x32"),
    ),
    "tag": (["colors", "--weights", "nothing"], 2, "nothing"),
    "no weights file": (
        [*ON_COLORS, "--weights", "missing.h5"],
        *(1, "missing.h5"),
    ),
    "output is a file": ([*ON_COLORS, "--output", "a_file"], 2, "not a folder"),
    "format": ([*ON_COLORS, "--formats", "onxx"], 2, "Did you mean 'onnx'"),
    "unavailable": (["colors"], 1, "Can't get the weights 'resnext50_32x4d"),
}


@pytest.fixture(scope="module")
def mistakes(tmp_path_factory, colors):
    """Return the output for wrong arguments, by what is wrong."""
    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "colors").symlink_to(colors)
    save_image(folder / "one_class" / "red" / "1.png", 0, 0)
    for name in ("a", "b"):
        save_image(folder / "few" / name / "1.png", 0, 0)
        save_image(folder / "broken" / name / "1.png", 0, 0)
    (folder / "broken" / "a" / "2.jpg").write_text("no image")
    (folder / "a_file").touch()
    (folder / "empty").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        hub_cache.offline(patch, folder)
        results = run_commands(
            [
                ["finetune", *line, "--data-dir", folder / "data"]
                for line, *_ in MISTAKES.values()
            ],
            folder,
        )
    return dict(zip(MISTAKES, results, strict=True))


@pytest.mark.once
@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_get_one_sentence(mistakes, name):
    _, status, part = MISTAKES[name]
    found, stderr, _ = mistakes[name]
    assert found == status, stderr
    assert_one_sentence(stderr, part)
