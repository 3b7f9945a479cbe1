"""The examples of one file, as users run them."""

import functools
import importlib.util
import runpy
import subprocess
import sys

import keras
import pytest
from run_script import ROOT
from run_script import run_commands
from run_script import run_script
from small_variants import shrink

BACKEND = keras.backend.backend()
CIFAR = ("--model", "resnext23s_4x32d", "--batch-size", 8, "--epochs", 2)


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/*.py")))
def test_files_are_short(path):
    if path.name != "__init__.py":
        assert 80 <= len(path.read_text("utf-8").splitlines()) <= 150


def run_example(path):
    """Run a script from its top, in this process."""
    runpy.run_path(str(ROOT / "examples" / path), run_name="__main__")
    return 0


@pytest.mark.once
@pytest.mark.parametrize(
    "path",
    [
        *("benchmark/models.py", "benchmark/pipeline.py", "detection/train.py"),
        *("paper/cardinality.py", "paper/paths.py", "web/serve.py"),
        *("train_cifar.py", "train_imagenet.py"),
    ],
)
def test_help(path, tmp_path):
    main = functools.partial(run_example, path)
    [result] = run_commands([["--help"]], tmp_path, main)
    assert result.status == 0
    assert result.stdout.startswith("usage: ")


def test_train_cifar(dataset, tmp_path, monkeypatch):
    shrink(monkeypatch, "resnext23s_4x32d")
    line = ["--dataset", dataset, *CIFAR, "--recipe", "cifar_short"]
    main = functools.partial(run_example, "train_cifar.py")
    [result] = run_commands([line], tmp_path, main)
    assert result.status == 0, result.stderr
    assert "test accuracy" in result.stdout
    assert (tmp_path / "runs" / "cifar" / "best.keras").exists()


@pytest.mark.slow
def test_train_imagenet(dataset, tmp_path):
    (dataset / "test").rename(dataset / "validation")
    line = ("--dataset", dataset, *CIFAR, "--recipe", "a2", "--size", 32)
    process = run_script("examples/train_imagenet.py", *line, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    folder = tmp_path / "runs" / "imagenet"
    assert keras.saving.load_model(folder / "model.keras")
    assert len((folder / "history.csv").read_text().splitlines()) == 3


@pytest.mark.slow
def test_digits_are_learnt(tmp_path):
    process = run_script("examples/finetune.py", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    (line,) = (x for x in process.stdout.splitlines() if "digits correct" in x)
    assert float(line.partition("%")[0]) >= 98
    assert (tmp_path / "runs" / "digits" / "model.keras").exists()


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's loop")
@pytest.mark.parametrize("processes", [1, 2])
def test_torch_loop(tmp_path, processes):
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--nproc-per-node"]
        launcher += [str(processes)]
    process = subprocess.run(
        [*launcher, str(ROOT / "examples" / "torch_loop.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    check_loop(process, tmp_path / "torch_loop.keras")


@pytest.mark.slow
@pytest.mark.skipif(
    BACKEND != "jax" or importlib.util.find_spec("optax") is None,
    reason="JAX's loop, with optax",
)
def test_jax_loop(tmp_path):
    process = run_script("examples/jax_loop.py", cwd=tmp_path)
    check_loop(process, tmp_path / "jax_loop.keras")


def check_loop(process, path):
    assert process.returncode == 0, process.stderr
    lines = process.stdout.strip().splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        f"epoch {i}/3" for i in (1, 2, 3)
    ]
    assert float(lines[-1].rpartition(" ")[2].rstrip("%")) > 80
    assert keras.saving.load_model(path).output_shape == (None, 10)
