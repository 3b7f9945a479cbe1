"""examples/benchmark: measurements, and errors for what is unavailable."""

import dataclasses
import json
import pathlib
from typing import NamedTuple
from unittest.mock import Mock

import keras
import numpy as np
import onnx.parser
import PIL.Image
import pytest
from run_script import assert_one_sentence
from run_script import run_commands
from small_variants import shrink

from examples.benchmark import artifacts
from examples.benchmark import bound
from examples.benchmark import machine
from examples.benchmark import models
from examples.benchmark import pages
from examples.benchmark import results
from examples.benchmark import scaling
from examples.benchmark import steps
from examples.benchmark import worker
from examples.benchmark.candidates import CANDIDATES
from examples.benchmark.candidates import FILES
from examples.benchmark.candidates import Candidate
from examples.benchmark.results import Result
from examples.benchmark.setting import Setting

BACKEND = keras.backend.backend()
SMALL = ("--model", "resnext23s_4x32d", "--size", 32, "--rounds", 1)
# Each figure takes a process of each candidate: two are enough.
OTHER = {
    "tensorflow": "saved-model",
    "jax": "jax-folded",
    "torch": "exported-program",
}[BACKEND]


class Run(NamedTuple):
    """Output and files of a benchmark."""

    names: list[str]
    stdout: str
    folder: pathlib.Path

    def tables(self):
        report = json.loads((self.folder / "benchmark.json").read_text())
        return {
            f"{each['kind']} {each['batch']} {each['dtype']}": each
            for each in report["results"]
        }


def figure(task):
    """Return the figure of a process that is not started."""
    return 1e9 if task["kind"].startswith("memory") else 4.0


@pytest.fixture(
    scope="module",
    params=[False, pytest.param(True, marks=pytest.mark.slow)],
    ids=["canned", "real"],
)
def made(tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("benchmark")
    names = [BACKEND, OTHER]
    line = [*SMALL, "--batches", 3, "--train-batches", 2]
    with pytest.MonkeyPatch.context() as patch:
        if not request.param:
            patch.setattr(models, "check_model", lambda _: None)
            patch.setattr(artifacts, "order", lambda *_: None)
            patch.setattr(worker, "Worker", lambda *_: Mock(ask=figure))
        lines = [[*line, "--candidates", *names]]
        [result] = run_commands(lines, folder, models.main)
    assert result.status == 0, result.stderr
    return Run(names, result.stdout, folder / "runs" / "benchmark")


def test_each_task_has_a_figure_of_everyone(made):
    tables = made.tables()
    ours = [name for name in made.names if name.startswith(BACKEND)]
    assert {key: list(table["samples"]) for key, table in tables.items()} == {
        "predict 3 float32": made.names,
        "train 2 float32": ours[:1],
        "startup 1 float32": made.names,
        "memory of prediction 16 float32": made.names,
        "memory of training 16 float32": ours[:1],
        "predict 3 bfloat16": ours,
        "train 2 bfloat16": ours[:1],
    }
    for table in tables.values():
        for (figure,) in table["samples"].values():
            assert figure > 0
    # One process with a framework, within the limits of this machine.
    peak = tables["memory of training 16 float32"]["medians"][BACKEND]
    assert 0.1 < peak < 8


def test_the_terminal_has_it_and_a_table_and_a_image(made):
    text = (made.folder / "benchmark.md").read_text()
    assert text.startswith("resnext23s_4x32d, 32x32, ")
    for name in made.names:
        label = CANDIDATES[name].label
        assert label in made.stdout
        assert f"| {label} | " in text
    with PIL.Image.open(made.folder / "benchmark.png") as image:
        assert min(image.size) > 500


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


@pytest.mark.parametrize(
    ("name", "dtype", "training"),
    [
        (BACKEND, "bfloat16", True),
        (f"{BACKEND}-folded", "bfloat16", False),
        (f"stock-{BACKEND}", "float32", False),
    ],
)
def test_a_step_computes(name, dtype, training, monkeypatch):
    shrink(monkeypatch, SMALL[1])
    setting = Setting(SMALL[1], 32, 1, "cpu", "")
    step = steps.keras(CANDIDATES[name], setting, dtype, training)(2)()
    if training:
        assert 0 < step < 20
    else:
        np.testing.assert_allclose(step.sum(-1).astype(float), 1, atol=0.05)


@pytest.mark.once
def test_a_process_measures_a_file(tmp_path, monkeypatch):
    """ONNX Runtime's, since its process starts in no time."""
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]>'
        "same (float[n, h, w, c] x) => (float[n, h, w, c] y) {y = Identity(x)}"
    )
    monkeypatch.setattr(models, "check_model", lambda _: None)
    monkeypatch.setattr(artifacts, "order", lambda *_: None)
    line = [*SMALL, "--batches", 3, "--candidates", "onnx"]
    file = tmp_path / "runs/benchmark/files" / FILES["onnx:ours"]
    file.parent.mkdir(parents=True)
    file.write_bytes(model.SerializeToString())
    [result] = run_commands([line], tmp_path, models.main)
    assert result.status == 0, result.stderr
    tables = Run([], "", tmp_path / "runs" / "benchmark").tables()
    assert [key.partition(" float")[0] for key in tables] == [
        *("predict 3", "startup 1", "memory of prediction 16")
    ]
    assert all(each["medians"]["onnx"] > 0 for each in tables.values())

    file.unlink()
    [result] = run_commands([line], tmp_path, models.main)
    assert result.status == 1
    assert_one_sentence(
        result.stderr, "'onnx' failed at predict", "model.onnx failed"
    )


@pytest.mark.once
def test_mistakes_get_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    gpu = ["--device", "gpu"]
    lines = {
        "invalid choice: 'tim'": ["--candidates", "tim"],
        "from 1, not '0'": ["--rounds", 0],
        "processors for --threads 9999": ["--threads", 9999],
        "There is no NVIDIA GPU here.": gpu,
        "Not on a gpu: onnx.": [*gpu, "--candidates", "onnx"],
        "Not installed: nothing_such, for onnx": ["--candidates", "onnx"],
        "Did you mean": ["--model", "resnext51_32x4d"],
        "File exists": ["--output", "file"],
    }
    # As if ONNX Runtime were another, and there were no driver.
    other = dataclasses.replace(CANDIDATES["onnx"], needs=("nothing_such",))
    monkeypatch.setitem(CANDIDATES, "onnx", other)
    monkeypatch.setenv("PATH", "")
    *parts, part = lines
    found = run_commands([lines[key] for key in parts], tmp_path, models.main)
    monkeypatch.setattr(models, "check_model", lambda _: None)
    found += run_commands([lines[part]], tmp_path, models.main)
    for part, result in zip(lines, found, strict=True):
        assert result.status in (1, 2), part
        assert_one_sentence(result.stderr, part)


@pytest.mark.once
def test_every_curve_has_a_point_of_everyone(tmp_path, monkeypatch):
    monkeypatch.setattr(Candidate, "missing", [])
    monkeypatch.setattr(worker, "Worker", lambda *_: Mock(ask=figure))
    monkeypatch.setattr(worker, "startup_seconds", lambda *_: 7.0)
    monkeypatch.setattr(machine, "processors", lambda: {2, 5})
    monkeypatch.setattr(bound, "write_photographs", lambda *_: None)
    monkeypatch.setattr(bound, "train", lambda *_: [3.0])
    monkeypatch.setattr(bound, "read", lambda *_: [99.0, 100.0])
    [result] = run_commands([["--rounds", 2]], tmp_path, scaling.main)
    assert result.status == 0, result.stderr
    folder = tmp_path / "runs" / "scaling"
    report = json.loads((folder / "scaling.json").read_text())
    text = pages.scaling(report)
    assert "resnext50_32x4d, 2 cores of an " in text
    for row in (
        "| Prediction, images/s | 1 | 4 | 16 | 64 | 256 |",
        "| timm, channels_last | 4 | 4 | 4 | 4 | 4 |",
        "| Peak memory of training, GB | 1 | 4 | 16 | 64 |",
        "| ours on JAX | 1 | 1 | 1 | 1 | 1 |",
        "| Prediction, batch 8, megapixels/s | 128 | 224 | 320 | 448 |",
        "| ours on torch | 0.0655 | 0.201 | 0.41 | 0.803 |",
        "| ours on TensorFlow | 3 | 3 | 3 |",
        "| folder of JPEG files | 99.5 | 99.5 |",
    ):
        assert f"{row}\n" in text
    with PIL.Image.open(folder / "scaling.png") as image:
        assert min(image.size) > 500


@pytest.mark.slow
def test_two_processes_train_together(tmp_path):
    setting = Setting(SMALL[1], 32, 2, "cpu", "")
    cores = sorted(machine.processors())
    groups = [[cores[0]], [cores[-1]]]
    for name in {BACKEND, "timm" if BACKEND == "torch" else BACKEND}:
        model = "resnext26ts" if name == "timm" else SMALL[1]
        chosen = dataclasses.replace(setting, model=model)
        rates = bound.train(CANDIDATES[name], chosen, groups, 2, 2)
        assert len(rates) == 2
        assert min(rates) > 0


@pytest.mark.slow
@pytest.mark.once
def test_images_are_read_from_files_and_records(tmp_path):
    bound.write_photographs(tmp_path)
    for source in ("folder", "tfds"):
        [rate] = bound.read(source, tmp_path, [0], 1)
        assert rate > 0


@pytest.mark.once
@pytest.mark.parametrize("page", pages.PAGES, ids=lambda each: each.parent.name)
def test_pages_show_the_kept_results(page):
    assert page.read_text("utf-8") == pages.written(page)
