"""examples/finetune.py, on digits and on folders of pictures."""

import json
import pathlib
import subprocess
from typing import NamedTuple

import keras
import numpy as np
import PIL.Image
import pytest
from run_script import Result
from run_script import assert_one_sentence
from run_script import run_many
from run_script import run_script

import keras_resnext

SMALL = "resnext23s_4x32d"

needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="about TensorFlow's formats",
)


class Run(NamedTuple):
    process: subprocess.CompletedProcess
    output: pathlib.Path

    def record(self) -> dict:
        return json.loads((self.output / "result.json").read_text())


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One epoch of three steps."""
    folder = tmp_path_factory.mktemp("digits")
    process = run_script(
        "examples/finetune.py",
        *("--epochs", 1, "--steps", 3, "--data-dir", folder / "data"),
        cwd=folder,
    )
    return Run(process, folder / "runs" / f"digits-{SMALL}")


def save_picture(path: pathlib.Path, seed: int, color: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 99, (40, 50, 3), "uint8")
    pixels[..., color] += 150
    PIL.Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def colors(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder of two folders of pictures, reddish and bluish ones."""
    folder = tmp_path_factory.mktemp("colors")
    for i in range(20):
        save_picture(folder / "red" / f"{i}.png", i, 0)
        save_picture(folder / "blue" / f"{i}.jpg", 100 + i, 2)
    return folder


def test_digits_succeed_silently(digits: Run) -> None:
    assert digits.process.stderr == ""
    assert digits.process.returncode == 0
    assert digits.process.stdout.startswith(f"{SMALL}: 9")


def test_digits_leave_pictures_labels_and_a_record(digits: Run) -> None:
    for name in ("curves.png", "confusion.png", "predictions.png"):
        with PIL.Image.open(digits.output / name) as picture:
            assert min(picture.size) > 400
    labels = (digits.output / "labels.txt").read_text()
    assert labels == "".join(f"{digit}\n" for digit in range(10))
    record = digits.record()
    assert record["pictures"] == {"train": 1212, "validation": 135, "test": 450}
    assert record["phases"] == [1]
    assert not list(digits.output.glob(".new-*"))


def test_digits_end_in_a_table(digits: Run) -> None:
    record = digits.record()
    accuracy = f"{record['test_accuracy']:.2%} of 450 test pictures right"
    assert accuracy in digits.process.stdout
    for artefact in record["artefacts"]:
        assert artefact["format"] in digits.process.stdout
        assert artefact["difference"] <= 1e-4
        assert artefact["agreement"] == 1.0
        assert artefact["bytes"] > 100_000


def test_every_export_was_compared(digits: Run) -> None:
    names = [artefact["format"] for artefact in digits.record()["artefacts"]]
    assert (
        names
        == {
            "tensorflow": ["saved_model", "tflite"],
            "jax": ["saved_model"],
            "torch": ["torch"],
        }[keras.backend.backend()]
    )
    for name in names:
        assert (digits.output / f"run_{name}.py").exists()
    assert (digits.output / "model.keras").exists()


@needs_tensorflow
def test_folder_from_weights_in_two_phases(
    colors: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    weights = tmp_path / "small.weights.h5"
    keras_resnext.get_model(SMALL, weights=None).save_weights(weights)
    # What is there already is replaced, and nothing else is touched.
    output = tmp_path / "out"
    (output / "saved_model").mkdir(parents=True)
    (output / "saved_model" / "old").touch()
    (output / "mine").touch()
    process = run_script(
        "examples/finetune.py",
        *("--dataset", colors, "--model", SMALL, "--weights", weights),
        *("--epochs", 3, "--batch-size", 16, "--output", output),
        cwd=tmp_path,
    )
    assert process.stderr == ""
    assert process.returncode == 0
    record = Run(process, output).record()
    assert record["pictures"] == {"train": 32, "validation": 4, "test": 4}
    assert record["phases"] == [1, 2]
    assert (output / "classifier" / "last.keras").exists()
    assert (output / "labels.txt").read_text() == "blue\nred\n"
    assert not (output / "saved_model" / "old").exists()
    assert (output / "saved_model" / "saved_model.pb").exists()
    assert (output / "mine").exists()


@pytest.fixture(scope="module")
def mistakes(
    tmp_path_factory: pytest.TempPathFactory, colors: pathlib.Path
) -> dict[str, Result]:
    """What the script says to wrong arguments, by what is wrong."""
    folder = tmp_path_factory.mktemp("mistakes")
    save_picture(folder / "one_class" / "red" / "1.png", 0, 0)
    for name in ("a", "b"):
        save_picture(folder / "few" / name / "1.png", 0, 0)
        save_picture(folder / "broken" / name / "1.png", 0, 0)
    (folder / "broken" / "a" / "2.jpg").write_text("no picture")
    (folder / "a_file").touch()
    lines = {
        "unknown model": ["--model", "resnext51"],
        "unknown data set": ["--dataset", "tf_flower"],
        "no folder": ["--dataset", folder / "missing"],
        "one class": ["--dataset", folder / "one_class"],
        "few pictures": ["--dataset", folder / "few", "--model", SMALL],
        "not a picture": ["--dataset", folder / "broken"],
        "no labels": ["--dataset", "coco"],
        "no epochs": ["--epochs", "0"],
        "no number": ["--batch-size", "many"],
        "field": ["--set", "learning_rat=1"],
        "size": ["--size", "3"],
        "tag": ["--weights", "nothing", "--model", "resnext50_32x4d"],
        "no weights file": ["--weights", folder / "missing.h5"],
        "output is a file": ["--output", folder / "a_file"],
        "format": ["--formats", "onxx"],
        "unavailable": ["--dataset", colors],
    }
    results = run_many(
        "examples/finetune.py",
        [[*line, "--data-dir", folder / "data"] for line in lines.values()],
        folder,
        HF_HUB_OFFLINE="1",
        HF_HOME=str(folder),
        KERAS_HOME=str(folder),
    )
    return dict(zip(lines, results, strict=True))


@pytest.mark.parametrize(
    ("mistake", "part"),
    [
        ("unknown model", "no model 'resnext51'"),
        ("unknown data set", "Did you mean 'tf_flowers'"),
        ("no folder", "neither a folder nor a data set"),
        ("one class", "two folders of pictures or more"),
        ("few pictures", "too few pictures"),
        ("not a picture", "2.jpg' is not a picture"),
        ("no labels", "does not hold pictures with one label"),
        ("no epochs", "must be a whole number from 1, not '0'"),
        ("no number", "must be a whole number from 1, not 'many'"),
        ("field", "Did you mean 'learning_rate'"),
        ("size", "at least 4x4 pixels"),
        ("tag", "nothing"),
        ("no weights file", "missing.h5"),
        ("output is a file", "a_file"),
        ("format", "Did you mean 'onnx'"),
    ],
)
def test_mistakes_get_one_sentence(
    mistakes: dict[str, Result], mistake: str, part: str
) -> None:
    status, stderr, _ = mistakes[mistake]
    assert status == 2
    assert_one_sentence(stderr, part)


def test_unavailable_weights_get_one_sentence(
    mistakes: dict[str, Result],
) -> None:
    status, stderr, _ = mistakes["unavailable"]
    assert status == 1
    assert_one_sentence(stderr, "Can't get the weights 'resnext50_32x4d")


@pytest.mark.slow
@needs_tensorflow
def test_digits_are_learnt(tmp_path: pathlib.Path) -> None:
    process = run_script(
        "examples/finetune.py", "--data-dir", tmp_path, cwd=tmp_path
    )
    assert process.returncode == 0, process.stderr
    record = Run(process, tmp_path / "runs" / f"digits-{SMALL}").record()
    assert record["test_accuracy"] >= 0.98
