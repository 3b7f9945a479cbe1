"""examples/predict.py, with random weights and wrong arguments."""

import pathlib

import numpy as np
import PIL.Image
import pytest
from run_script import assert_one_sentence
from run_script import run_many
from run_script import run_script

import keras_resnext

# The smallest number of layers among the variants; 32 pixels.
MODEL = "resnext29_8x64d"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("weights") / "random.weights.h5"
    keras_resnext.get_model(MODEL, weights=None).save_weights(path)
    return path


def test_names_classes(weights: pathlib.Path, tmp_path: pathlib.Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80), "uint8")
    PIL.Image.fromarray(pixels).save(tmp_path / "grey.png")
    process = run_script(
        "examples/predict.py",
        *("--model", MODEL, "--weights", weights, "--top", 3, "grey.png"),
        cwd=tmp_path,
    )
    assert process.stderr == ""
    assert process.returncode == 0
    title, *lines = process.stdout.split("\n")
    assert title.strip() == "grey.png"
    shares = [float(w[:-1]) for w in process.stdout.split() if w[-1] == "%"]
    assert len(shares) == 3
    assert shares == sorted(shares, reverse=True)
    assert any("probability" in line for line in lines)


def test_mistakes_get_one_sentence(
    weights: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    expected = {
        ("missing.jpg",): (2, "There is no file 'missing.jpg'"),
        ("text.jpg",): (2, "'text.jpg' is not a picture"),
        (".",): (2, "Can't read '.'"),
        ("--top", "0"): (2, "--top"),
        ("--model", "resnext51"): (2, "There is no variant 'resnext51'"),
        ("--weights", "nothing"): (2, "nothing"),
        ("--weights", str(weights)): (2, "does not fit the model"),
        (): (1, "Can't get the weights 'resnext50_32x4d"),
    }
    results = run_many(
        "examples/predict.py",
        list(map(list, expected)),
        tmp_path,
        HF_HUB_OFFLINE="1",
        HF_HOME=str(tmp_path),
        KERAS_HOME=str(tmp_path),
    )
    for (wanted, part), (status, stderr, _) in zip(
        expected.values(), results, strict=True
    ):
        assert_one_sentence(stderr, part)
        assert status == wanted
