"""examples/detection/train.py, as a user runs it."""

import csv
import importlib.util
import json
import shutil

import keras
import numpy as np
import pytest
import runs
from run_script import assert_one_sentence
from run_script import run_commands
from run_script import run_script

from examples.detection import train
from keras_resnext.training import checkpoints

SCRIPT = "examples.detection.train"
SMALL = "resnext23s_4x32d"
QUICK = (
    *("--images", 12, "--size", 64, "--batch-size", 4, "--epochs", 2),
    *("--deterministic", "--save-steps", 1),
)

on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="keras-cv needs it"
)


@on_tensorflow
def test_what_is_wrong_is_said(tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "notes.txt").write_text("mine")
    words = {
        "a multiple of 16, not 100": ["--size", 100],
        "there is no model 'resnext51'": ["--model", SMALL, "resnext51"],
        "a grouping is": ["--model", f"{SMALL}:64"],
        "no weights for": ["--model", f"{SMALL}:1x64d", "--weights", "cifar10"],
        "'cifar11'": ["--model", SMALL, "--weights", "cifar11"],
        "has no boxes": ["--dataset", "cifar10", "--data-dir", tmp_path],
        "no dataset named 'vox'": ["--dataset", "vox", "--data-dir", tmp_path],
        "(--resume)": ["--output", taken],
        "There is no recipe": ["--recipe", "retinanot"],
        "'jax'": ["--strategy", "jax"],
    }
    found = run_commands(words.values(), tmp_path, train.main)
    for result, word in zip(found, words, strict=True):
        assert result.status == 2
        assert_one_sentence(result.stderr, word)


@on_tensorflow
def test_what_is_missing_is_named(tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda x: None if x == "keras_cv" else found(x),
    )
    [result] = run_commands([["--dry-run"]], tmp_path, train.main)
    assert result.status == 1
    assert_one_sentence(result.stderr, "keras-cv", "pip install '.[train]'")


@pytest.mark.skipif(
    keras.backend.backend() == "tensorflow", reason="refused elsewhere only"
)
def test_other_backends_are_refused(tmp_path):
    [result] = run_commands([["--dry-run"]], tmp_path, train.main)
    assert result.status == 2
    assert_one_sentence(result.stderr, "KERAS_BACKEND=tensorflow")


@pytest.mark.slow
@on_tensorflow
def test_dry_run(tmp_path):
    process = run_script(
        *(SCRIPT, "--dry-run", "--batch-size", 2, "--size", 64),
        *("--precision", "bfloat16"),
        cwd=tmp_path,
    )
    assert process.returncode == 0, process.stderr
    assert "Importing keras-cv" in process.stdout
    assert "mAP of triangle" in process.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@on_tensorflow
def test_a_run_goes_on(tmp_path):
    """Two models; and bit for bit the same from within an epoch."""
    models = ("--model", SMALL, f"{SMALL}:1x64d")
    line = (SCRIPT, *models, *QUICK)
    process = run_script(*line, "--output", "whole", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert "Warning" not in process.stderr
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    record = json.loads((whole / "detection.json").read_text())
    folders = [SMALL, f"{SMALL}_1x64d"]
    assert [each["model"] for each in record["results"]] == list(models[1:])
    for name in folders:
        assert (whole / name / "predictions.png").exists()
        text = (whole / name / "history.csv").read_text()
        rows = list(csv.DictReader(text.splitlines()))
        assert [row["epoch"] for row in rows] == ["1", "2"]
        assert 0 <= float(rows[-1]["val_map"]) <= 1
    model = keras.saving.load_model(whole / SMALL / "last.keras")
    found = model.predict(np.zeros((1, 64, 64, 3)), verbose=0)
    anchors = 9 * (16**2 + 8**2 + 4**2 + 2**2 + 1)
    assert found["box"].shape == (1, anchors, 4)
    assert found["classification"].shape == (1, anchors, 3)

    shutil.copytree(whole, parts)
    for name in folders:
        newest, older = checkpoints.files(parts / name)
        assert older.stem == "step-000000005"
        newest.unlink()
    process = run_script(*line, "--output", "parts", "--resume", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert "Resuming after step 2 of epoch 2" in process.stdout
    for name in folders:
        runs.assert_same(whole / name, parts / name)
