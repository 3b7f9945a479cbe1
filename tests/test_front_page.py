"""README.md: its Python code, run from top to bottom."""

import dataclasses
import re

import color_images
import keras
import numpy as np
import PIL.Image
import pytest
from run_script import ROOT

import keras_resnext
from keras_resnext import models
from keras_resnext import resnext
from keras_resnext.weights.records import PackageFile
from keras_resnext.weights.records import Weights

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S)
FORMATS = {"jax": ["saved_model"], "torch": ["torch"], "tensorflow": ["onnx"]}


@pytest.fixture
def reader(monkeypatch, tmp_path):
    """Give a reader's folder, short models, and weights without a download."""

    def build(config, *arguments, whole=resnext.build):
        if len(config.depths) == 4:
            config = dataclasses.replace(config, depths=(1, 1, 1, 1))
        return whole(config, *arguments)

    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (70, 90, 3), "uint8")
    PIL.Image.fromarray(noise).save("image.jpg")
    color_images.save(tmp_path / "path" / "to" / "folder")

    def load(model, source, whole=models.load_checkpoint):
        if isinstance(source, Weights) and not isinstance(
            source.sources[0], PackageFile
        ):
            model.weights_info = source
            return
        whole(model, source)

    def export(*arguments, whole=keras_resnext.export):
        return whole(*arguments, FORMATS[keras.backend.backend()])

    monkeypatch.setattr(resnext, "build", build)
    monkeypatch.setattr(models, "load_checkpoint", load)
    monkeypatch.setattr(keras_resnext, "export", export)


def test_the_quick_start_prints_what_it_shows(capsys):
    scope = {}
    exec(compile(BLOCKS[0], "README.md", "exec"), scope)
    [[(_, name, share)]] = keras_resnext.decode_predictions(
        scope["probabilities"], top=1, model=scope["model"]
    )
    shown = re.search(r"\('2', '(.*)', np.float32\((.*)\)\)", README)
    assert shown[1] == name
    assert float(shown[2]) == pytest.approx(float(share), abs=1e-3)


@pytest.mark.slow
def test_python_runs_as_typed(reader):
    assert len(BLOCKS) >= 10
    scope = {}
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), scope)


def test_links_lead_somewhere():
    for link in re.findall(r"\]\(([^)#\s]+)", README):
        assert link.startswith("http") or (ROOT / link).exists(), link
    titles = re.findall(r"^#+ (.*)", README, re.M)
    anchors = {
        re.sub(r"[^\w\- ]", "", title).replace(" ", "-").lower()
        for title in titles
    }
    for anchor in re.findall(r"\]\(#([^)]+)\)", README):
        assert anchor in anchors
