"""examples/benchmark: it measures, and says what it can't."""

import json
import pathlib
from typing import NamedTuple

import keras
import PIL.Image
import pytest
from run_script import assert_one_sentence
from run_script import run_many
from run_script import run_script

from examples.benchmark import results
from examples.benchmark.contestants import CONTESTANTS
from examples.benchmark.results import Result

BACKEND = keras.backend.backend()
SMALL = ("--model", "resnext23s_4x32d", "--size", 32, "--rounds", 1)
# Each figure takes a process of each contestant: two are enough.
OTHER = {
    "tensorflow": "saved-model",
    "jax": "jax-folded",
    "torch": "exported-program",
}[BACKEND]


class Run(NamedTuple):
    """What a benchmark printed, and left."""

    names: list[str]
    stdout: str
    folder: pathlib.Path

    def tables(self) -> dict[str, dict]:
        report = json.loads((self.folder / "benchmark.json").read_text())
        return {
            f"{each['kind']} {each['batch']} {each['dtype']}": each
            for each in report["results"]
        }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("benchmark")
    names = [BACKEND, OTHER]
    process = run_script(
        "examples.benchmark.models",
        *SMALL,
        *("--batches", 3, "--train-batches", 2, "--contestants", *names),
        cwd=folder,
    )
    assert process.returncode == 0, process.stderr
    return Run(names, process.stdout, folder / "runs" / "benchmark")


def test_each_task_has_a_figure_of_everyone(made):
    tables = made.tables()
    models = [name for name in made.names if name.startswith(BACKEND)]
    assert {key: list(table["samples"]) for key, table in tables.items()} == {
        "predict 3 float32": made.names,
        "train 2 float32": models[:1],
        "startup 1 float32": made.names,
        "memory of prediction 16 float32": made.names,
        "memory of training 16 float32": models[:1],
        "predict 3 bfloat16": models,
        "train 2 bfloat16": models[:1],
    }
    for table in tables.values():
        for (figure,) in table["samples"].values():
            assert figure > 0
    # A process that holds a framework, and no more than this machine has.
    peak = tables["memory of training 16 float32"]["medians"][BACKEND]
    assert 0.1 < peak < 8


def test_the_terminal_has_it_and_a_table_and_a_picture(made):
    text = (made.folder / "benchmark.md").read_text()
    assert text.startswith("resnext23s_4x32d, 32x32, ")
    for name in made.names:
        label = CONTESTANTS[name].label
        assert label in made.stdout
        assert f"| {label} | " in text
    with PIL.Image.open(made.folder / "benchmark.png") as picture:
        assert min(picture.size) > 500


def test_ratios_are_to_timm():
    samples = {"timm": [4.0, 5.0, 9.0], "tensorflow": [10.0, 8.0, 7.0]}
    result = Result("predict", 8, "float32", samples)
    assert result.medians == {"timm": 5, "tensorflow": 8}
    assert result.ratios == {"timm": 1, "tensorflow": 1.6}
    memory = Result("memory of training", 8, "float32", {"jax": [2e9]})
    assert memory.medians == {"jax": 2}
    assert memory.ratios == {}
    assert results.markdown([result, memory]).splitlines() == [
        "| | predict, batch 8, images/s | memory of training, batch 8, GB |",
        "| --- | ---: | ---: |",
        "| timm, channels_last | 5.0 (1.00x) |  |",
        "| ours on TensorFlow | 8.0 (1.60x) |  |",
        "| ours on JAX |  | 2.0 |",
    ]


@pytest.mark.once
def test_mistakes_get_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    lines = {
        "Did you mean": ["--model", "resnext51_32x4d"],
        "invalid choice: 'tim'": ["--contestants", "tim"],
        "from 1, not '0'": ["--rounds", 0],
        "processors for --threads 9999": ["--threads", 9999],
        "There is no NVIDIA GPU here.": ["--device", "gpu"],
        "Not on a gpu: onnx.": ["--device", "gpu", "--contestants", "onnx"],
        "Not installed: nothing_such, for onnx": ["--contestants", "onnx"],
        "File exists": ["--output", "file"],
    }
    # As if ONNX Runtime were another, and there were no driver.
    prelude = """
import dataclasses, os
from examples.benchmark import contestants
each = contestants.CONTESTANTS["onnx"]
contestants.CONTESTANTS["onnx"] = dataclasses.replace(
    each, needs=("nothing_such",))
os.environ["PATH"] = ""
"""
    found = run_many(
        "examples.benchmark.models",
        list(lines.values()),
        tmp_path,
        prelude,
    )
    for part, result in zip(lines, found, strict=True):
        assert result.status in (1, 2), part
        assert_one_sentence(result.stderr, part)


@pytest.mark.once
def test_a_contestant_that_fails_is_named(tmp_path):
    process = run_script(
        "examples.benchmark.models",
        # Too small for its stages.
        *("--model", "resnext50_32x4d", "--size", 3, "--rounds", 1),
        *("--contestants", BACKEND, "--tasks", "predict"),
        cwd=tmp_path,
    )
    assert process.returncode == 1
    assert_one_sentence(
        process.stderr, f"'{BACKEND}' failed at predict", "32x32"
    )
