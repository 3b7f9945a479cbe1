"""The command `train`, as users run it."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import runs
from run_script import run_commands
from small_variants import shrink

from keras_resnext.training import checkpoints

SMALL = ("--model", "resnext23s_4x32d", "--batch-size", 8)
CIFAR = (*SMALL, "--recipe", "cifar_short")
COMMAND = (sys.executable, "-m", "keras_resnext", "train")
SIZES = ("train_size=32", "evaluation_size=32", "evaluation_resize=36")
KILLS = 10


def run(folder, *words):
    """Run the command in a separate process."""
    return subprocess.run(
        [*COMMAND, *map(str, words)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_dry_run(tmp_path, monkeypatch):
    shrink(monkeypatch, "resnext23s_4x32d")
    line = ["train", "anything", *CIFAR, "--dry-run", "--json"]
    [result] = run_commands([line], tmp_path)
    assert result.status == 0, result.stderr
    assert json.loads(result.stdout)["epoch"] == 1
    assert "on noise" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_imagenets_recipe_on_a_folder(dataset, tmp_path):
    process = run(
        tmp_path,
        *(dataset, *SMALL, "--recipe", "a2", "--validation"),
        *("--epochs", 2, "--set", *SIZES, "warmup_epochs=1"),
        *("--precision", "bfloat16"),
    )
    assert process.returncode == 0, process.stderr
    for name in ("best", "last"):
        assert (tmp_path / f"runs/resnext23s_4x32d-a2/{name}.keras").exists()


@pytest.mark.slow
def test_imagenet_is_to_be_downloaded_by_hand(tmp_path):
    process = run(tmp_path, "imagenet2012", "--data-dir", tmp_path)
    assert process.returncode == 1
    message = process.stderr.strip().splitlines()[-1]
    assert "Can't prepare 'imagenet2012'" in message
    assert "ILSVRC2012_img_train.tar" in message
    assert str(tmp_path / "downloads" / "manual") in message


@pytest.mark.slow
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="about its strategy"
)
def test_two_workers(dataset, tmp_path):
    """They share a directory, which the first one writes, and resume."""
    line = [*COMMAND, dataset, *CIFAR, "--strategy", "multiworker"]
    line += ["--output", "run", "--validation", "--epochs", 2]
    line += ["--synchronize", "--save-steps", 1]
    line = list(map(str, line))
    histories = []
    for resume in ([], ["--resume"]):
        hosts = [f"localhost:{free_port()}" for _ in range(2)]
        workers = []
        for index in range(2):
            cluster = {
                "cluster": {"worker": hosts},
                "task": {"type": "worker", "index": index},
            }
            workers.append(
                subprocess.Popen(
                    [*line, *resume],
                    cwd=tmp_path,
                    env={**os.environ, "TF_CONFIG": json.dumps(cluster)},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        said = [process.communicate(timeout=200) for process in workers]
        assert [process.returncode for process in workers] == [0, 0], said
        assert "validation" in said[0][0]
        assert said[1][0] == ""
        histories.append(runs.history(tmp_path / "run"))
        # The second time they resume within the last epoch.
        checkpoints.files(tmp_path / "run")[0].unlink()
    np.testing.assert_allclose(histories[1], histories[0], rtol=1e-3)
    assert (tmp_path / "run" / "last.keras").exists()


def free_port():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


@pytest.mark.slow
def test_killed_ten_times(dataset, tmp_path):
    """A run resumes, bit for bit, whenever it is killed."""
    line = [dataset, *CIFAR, "--epochs", 40, "--deterministic"]
    line += ["--save-steps", 1, "--set", "dropout=0.1"]
    line += ["stochastic_depth=0.1", "ema_decay=0.99999"]
    whole = run(tmp_path, *line, "--output", "whole")
    assert whole.returncode == 0, whole.stderr

    command = [*COMMAND, *map(str, line), "--output", "parts", "--resume"]
    chance = random.Random(0)
    for _ in range(KILLS):
        before = newest(tmp_path / "parts")
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while newest(tmp_path / "parts") == before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 1))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert newest(tmp_path / "parts") < newest(tmp_path / "whole")

    rest = run(tmp_path, *line, "--output", "parts", "--resume")
    assert rest.returncode == 0, rest.stderr
    runs.assert_same(tmp_path / "whole", tmp_path / "parts")
    assert len(runs.history(tmp_path / "whole")) == 40


def newest(folder):
    return max((path.name for path in checkpoints.files(folder)), default="")
