"""Runs: complete, stopped, resumed, failed."""

import csv
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import sys
from collections.abc import Callable

import color_images
import keras
import numpy as np
import pytest
import runs
import tensorflow as tf

from keras_resnext import atomic_files
from keras_resnext import cli
from keras_resnext.data import folders
from keras_resnext.training import checkpoints
from keras_resnext.training import plots
from keras_resnext.training import trainer

QUICK = ("--set", "epochs=3", "warmup_epochs=1", "dropout=0.1")

Command = Callable[..., int]


@pytest.fixture
def command(monkeypatch, dataset, tmp_path, tiny, request):
    """Run `keras-resnext train` in this process, with a tiny model."""
    monkeypatch.chdir(tmp_path)
    if request.function is not test_a_run:  # the others look at no curves
        monkeypatch.setattr(plots, "draw_curves", lambda *_: None)
    smallest = dataclasses.replace(tiny, depths=(1,), out_channels=(32,))
    rows = {**trainer.VARIANTS, "resnext23s_4x32d": smallest}
    monkeypatch.setattr(trainer, "VARIANTS", rows)

    def run(*words):
        line = ["train", dataset, "--model", "resnext23s_4x32d"]
        line += ["--recipe", "cifar_short", "--batch-size", 8, *words]
        if "--dataset" in words:  # another one
            at = line.index("--dataset")
            line[1] = line[at + 1]
            del line[at : at + 2]
        line = list(map(str, line))
        monkeypatch.setattr(sys, "argv", ["keras-resnext", *line])
        return cli.main(line)

    return run


def refused(command, capsys, *words):
    """Return the sentence that a command line gets."""
    try:
        status = command(*words)
    except SystemExit as error:
        status = error.code
    assert status in (1, 2)
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert "Traceback" not in message
    return message


def test_a_run(command, capsys):
    # As a job that is requeued passes it each time.
    assert command(*QUICK, "--resume") == 0
    folder = pathlib.Path("runs", "resnext23s_4x32d-cifar_short")
    assert {path.name for path in folder.iterdir()} == {
        *("run.json", "history.csv", "curves.png", "tensorboard"),
        "last.keras",
        *("step-000000006.safetensors", "step-000000009.safetensors"),
    }
    with (folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    record = json.loads((folder / "run.json").read_text())
    assert record["recipe"]["epochs"] == 3
    assert record["identity"]["batch_size"] == 8
    assert record["versions"]["keras"] == keras.__version__
    assert record["versions"]["tensorflow"] == tf.__version__
    assert record["identity"]["labels"] == ["blue", "red"]
    counts = {"train": [12, 12], "test": [6, 5]}
    for split, images in record["identity"]["images"].items():
        assert images["counts"] == counts[split]
    assert list((folder / "tensorboard").iterdir())
    model = keras.saving.load_model(folder / "last.keras")
    assert model.output_shape == (None, 2)
    np.testing.assert_allclose(
        model.predict(np.ones((2, 32, 32, 3)), verbose=0).sum(-1), 1, rtol=1e-5
    )
    said = capsys.readouterr().out
    assert f"nothing to resume in {folder}" in said
    assert "epoch 3/3" in said
    assert "images/s" in said
    assert "test accuracy" in said
    assert record["result"]["test_accuracy"] >= 0.4
    assert "val_accuracy" not in rows[0]


def test_a_run_goes_on_within_an_epoch(command):
    line = ("--deterministic", "--save-steps", 1, *QUICK)
    assert command("--output", "whole", *line) == 0
    shutil.copytree("whole", "parts")
    newest, older = checkpoints.files(pathlib.Path("parts"))
    assert older.stem == "step-000000008"
    newest.unlink()
    assert command("--output", "parts", "--resume", *line) == 0
    runs.assert_same(pathlib.Path("whole"), pathlib.Path("parts"))


def stop_after(monkeypatch, steps, number):
    """Send this process a signal in a step of its run."""
    seen = []
    counted = trainer.Checkpointing.on_train_batch_end

    def count(self, batch, logs=None):
        counted(self, batch, logs)
        seen.append(None)
        if len(seen) == steps:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(trainer.Checkpointing, "on_train_batch_end", count)


@pytest.mark.parametrize(
    ("number", "steps", "fields"),
    [
        pytest.param(signal.SIGINT, 4, [], marks=pytest.mark.slow),
        (signal.SIGTERM, 6, ["stochastic_depth=0.5", "ema_decay=0.999995"]),
    ],
)
def test_a_stopped_run_goes_on_as_if_nothing_were(
    command, capsys, monkeypatch, number, steps, fields
):
    line = ("--deterministic", *QUICK, *fields)
    assert command("--output", "whole", *line) == 0
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        stop_after(patch, steps, number)
        assert command("--output", "parts", *line) == 128 + number
    assert signal.getsignal(number) is before
    said = capsys.readouterr().out
    assert "Resume with: keras-resnext train" in said
    assert "--resume" in said
    assert command("--output", "parts", *line, "--resume") == 0
    runs.assert_same(pathlib.Path("whole"), pathlib.Path("parts"))


def test_a_corrupt_checkpoint_gives_way_to_the_one_before(command, capsys):
    assert command("--output", "run", *QUICK) == 0
    newest, before = checkpoints.files(pathlib.Path("run"))
    newest.write_bytes(newest.read_bytes()[:-7] + b"garbage")
    capsys.readouterr()
    assert command("--output", "run", *QUICK, "--resume") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"'{newest}' can't be used: its checksum is wrong" in said
    assert f"of epoch 3: {before}" in said


def test_the_loss_that_is_no_number(command, capsys):
    line = ("--output", "run", "--set", "epochs=4", "schedule=step")
    line += ("milestones=2", "learning_rate=1e30")
    message = refused(command, capsys, *line)
    assert "Loss is NaN or infinite at step" in message
    assert "--set learning_rate=5e+29" in message
    for path in checkpoints.files(pathlib.Path("run")):
        content, _ = checkpoints._read(path)
        assert all(np.isfinite(value).all() for value in content.values())


@pytest.mark.once
def test_a_full_disk(command, capsys, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    message = refused(command, capsys, "--output", "run", *QUICK)
    assert "No space left on device" in message
    assert not any(pathlib.Path("run").glob(".*part"))


def test_the_last_good_checkpoint_is_named(command, capsys, monkeypatch):
    def full(folder, whole=atomic_files.publish):
        if list(folder.glob("new/step-000000006*")):
            raise OSError(28, "No space left on device")
        whole(folder)

    with monkeypatch.context() as patch:
        patch.setattr(atomic_files, "publish", full)
        message = refused(command, capsys, "--output", "run", *QUICK)
    assert "No space left on device" in message
    good = pathlib.Path("run", "step-000000003.safetensors")
    assert f"Last good checkpoint: '{good}'" in message
    assert not list(pathlib.Path("run").glob(".*"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "is missing."),
        pytest.param(
            *(b"\x89PNG and no more", "is not an image"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_images_that_go_while_a_run_is_on(
    command, capsys, monkeypatch, tmp_path, content, words
):
    # Or they would be read before.
    monkeypatch.setattr(folders, "KEPT_BYTES", 0)
    data = color_images.save(tmp_path / "data")
    file = data / "train" / "red" / "01.png"
    line = ["--dataset", data, "--output", "run", *QUICK]
    line.append("crop=random_resized")
    before = file.read_bytes()
    begun = trainer.Checkpointing.begin

    def begin(self, epoch, first_step):
        begun(self, epoch, first_step)
        if epoch == 1 and content is None:
            file.unlink()
        elif epoch == 1:
            file.write_bytes(content)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Checkpointing, "begin", begin)
        message = refused(command, capsys, *line)
    assert f"'{file}' {words}" in message
    good = pathlib.Path("run", "step-000000003.safetensors")
    assert message.endswith(f"Last good checkpoint: '{good}'.")
    file.write_bytes(before)
    assert command(*line, "--resume") == 0


@pytest.mark.once
def test_a_run_resumes_on_the_same_images_only(command, capsys, tmp_path):
    data = color_images.save(tmp_path / "data")
    line = ["--dataset", data, "--output", "run", "--steps", 1]
    line += ["--set", "epochs=1"]
    assert command(*line) == 0
    record = pathlib.Path("run", "run.json").read_text()
    line.append("--resume")

    def rename(before, after):
        for split in color_images.COUNTS:
            (data / split / before).rename(data / split / after)

    rename("blue", "violet")
    message = refused(command, capsys, *line)
    assert "its classes are now without 'blue' and with 'violet'" in message
    rename("violet", "blue")
    file = data / "train" / "red" / "01.png"
    content = file.read_bytes()
    file.write_bytes((data / "train" / "red" / "03.png").read_bytes() + b" ")
    message = refused(command, capsys, *line)
    assert "some of its train images have other names or sizes" in message
    file.unlink()
    message = refused(command, capsys, *line)
    assert "of its train images 'red' had 12, not 11" in message
    file.write_bytes(content)
    assert pathlib.Path("run", "run.json").read_text() == record
    assert command(*line) == 0


@pytest.mark.once
def test_two_runs_in_one_folder(command, capsys):
    line = ("--output", "run", "--steps", 1, "--set", "epochs=1")
    folder = pathlib.Path("run")
    folder.mkdir()
    with atomic_files.lock(folder):
        message = refused(command, capsys, *line)
    assert f"'run' is in use by process {os.getpid()} on" in message
    assert list(folder.iterdir()) == []
    assert command(*line) == 0


@pytest.mark.once
def test_the_folder_of_another_run(command, capsys):
    line = ("--output", "run", "--steps", 1, "--set", "epochs=1")
    assert command(*line) == 0
    assert "--resume" in refused(command, capsys, *line)
    other = refused(command, capsys, *line, "--seed", 1, "--resume")
    assert "its seed was 0, not 1" in other
    pathlib.Path("run", "run.json").write_text("{}")
    assert "not the record of a run" in refused(command, capsys, *line)


@pytest.mark.once
@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--recipe", "cifar_papr"], "Did you mean 'cifar_paper'"),
        (["--set", "epoch=3"], "Did you mean 'epochs'"),
        (["--model", "resnext51"], "There is no variant 'resnext51'"),
        (
            ["--batch-size", "25"],
            "fewer than the batch size of 25",
        ),
        (["--batch-size", "0"], "whole number from 1, not '0'"),
        (["--dataset", "nowhere"], "neither a folder nor a dataset"),
        (["--set", "train_size=24"], "for images of 24x24"),
        (["--strategy", "everything"], "invalid choice"),
    ],
)
def test_mistakes_get_one_sentence(command, capsys, words, part):
    assert part in refused(command, capsys, *words)


def test_the_recipe_is_shown(command, capsys):
    assert command("--show-recipe", "--set", "epochs=7") == 0
    assert "epochs               7" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "warmup"), [((), 2), (("--set", "warmup_epochs=5"), 5)]
)
def test_fewer_epochs_rise_in_fewer(command, capsys, line, warmup):
    recipe = ("--recipe", "torchvision_v2", "--epochs", 240)
    assert command("--show-recipe", *recipe, *line) == 0
    assert f"warmup_epochs        {warmup}\n" in capsys.readouterr().out
