"""examples/paper/cardinality.py, as a user runs it."""

import json

import color_images
import pytest
from run_script import assert_one_sentence
from run_script import run_commands
from run_script import run_script

from examples.paper import cardinality

SCRIPT = "examples.paper.cardinality"
QUICK = ("--batch-size", 8, "--epochs", 1)


@pytest.mark.once
def test_what_is_wrong_is_said(tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "notes.txt").write_text("mine")
    lines = [
        ["--model", "resnext50_32x4d"],
        ["--scale", "large"],
        ["--seeds", "0"],
        ["--output", str(taken)],
    ]
    words = ["--model", "'large'", "whole number from 1", "(--resume)"]
    found = run_commands(lines, tmp_path, cardinality.main)
    for result, word in zip(found, words, strict=True):
        assert result.status == 2
        assert_one_sentence(result.stderr, word)


@pytest.mark.slow
def test_a_seed_gives_its_numbers_again(tmp_path):
    dataset = color_images.save(tmp_path / "colors")
    line = [SCRIPT, "--dataset", dataset, *QUICK]
    for name in ("first", "second"):
        process = run_script(
            *line, "--output", name, "--seeds", 2, cwd=tmp_path
        )
        assert process.returncode == 0, process.stderr
    first, second = (
        json.loads((tmp_path / name / "cardinality.json").read_text())
        for name in ("first", "second")
    )
    assert first["results"] == second["results"]
    assert len(first["results"]) == 9
    for name in ("cardinality.md", "cardinality.png"):
        assert (tmp_path / "first" / name).exists()

    # One more seed is one more run of each, and the others stay.
    more = run_script(
        *(*line, "--output", "first", "--seeds", 3, "--resume"), cwd=tmp_path
    )
    assert more.returncode == 0, more.stderr
    third = json.loads((tmp_path / "first" / "cardinality.json").read_text())
    for before, after in zip(first["results"], third["results"], strict=True):
        assert after["errors"][:2] == before["errors"]
        assert len(after["errors"]) == 3
