"""Docstrings of the package: each example runs, with the output shown."""

import ast
import doctest
import importlib
import re

import color_images
import keras
import numpy as np
import PIL.Image
import pytest
from run_script import ROOT

import keras_resnext
from keras_resnext import models
from keras_resnext.weights import fetch
from keras_resnext.weights.records import PackageFile
from keras_resnext.weights.records import Weights

FORMATS = {"jax": "saved_model", "tensorflow": "tflite", "torch": "torch"}
# Examples of TensorFlow's functions are the same on every backend, PyTorch is
# installed for comparisons, and an export takes its time.
MARKS = {
    r"\btf\.": pytest.mark.once,
    "to_torch": pytest.mark.parity,
    r"\.export\(|Trainer": pytest.mark.slow,
}


def examples():
    """Yield each docstring with an example, by module and object."""
    for path in sorted((ROOT / "keras_resnext").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        module = ".".join(parts).removesuffix(".__init__")
        tree = ast.parse(path.read_text("utf-8"))
        for node in tree.body:
            members = node.body if isinstance(node, ast.ClassDef) else []
            for each in (node, *members):
                if not isinstance(each, ast.ClassDef | ast.FunctionDef):
                    continue
                text = ast.get_docstring(each)
                if text and ">>>" in text:
                    name = f"{module}.{each.name}"
                    code = text.partition(">>>")[2]
                    marks = [
                        MARKS[key] for key in MARKS if re.search(key, code)
                    ]
                    yield pytest.param(module, text, id=name, marks=marks)


class Checker(doctest.OutputChecker):
    """Compare the output that an example shows, and shapes of any backend."""

    def check_output(self, want, got, flags):
        want, got = (
            re.sub(r"(?:torch\.Size|TensorShape)\(\[(.*?)\]\)", r"(\1)", text)
            for text in (want, got)
        )
        return not want or super().check_output(want, got, flags)


@pytest.fixture(scope="module")
def flowers(tmp_path_factory):
    """Return the path of a checkpoint of a ResNeXt-50."""
    path = tmp_path_factory.mktemp("checkpoint") / "flowers.safetensors"
    model = keras_resnext.ResNeXt50(weights=None, classes=10)
    keras_resnext.save_torch_checkpoint(model, path)
    return path


@pytest.fixture
def reader(monkeypatch, tmp_path, flowers):
    """Return the names that examples use; no weights are downloaded."""

    def load(model, source, *arguments, whole=models.load_checkpoint):
        if isinstance(source, Weights) and not isinstance(
            source.sources[0], PackageFile
        ):
            model.weights_info = source
        else:
            whole(model, source, *arguments)

    def export(model, path, formats=(), whole=keras_resnext.export, **kwargs):
        return whole(model, path, [FORMATS[keras.backend.backend()]], **kwargs)

    monkeypatch.chdir(tmp_path)
    (tmp_path / flowers.name).hardlink_to(flowers)
    folder = color_images.save(tmp_path / "path" / "to" / "folder")
    for split in folder.iterdir():
        (split / "blue").rename(split / "cat")
        (split / "red").rename(split / "dog")
    monkeypatch.setattr(models, "load_checkpoint", load)
    monkeypatch.setattr(fetch, "fetch", lambda weights: flowers)
    monkeypatch.setattr(keras_resnext, "export", export)
    noise = np.random.default_rng(0).integers(0, 256, (70, 90, 3), "uint8")
    return {
        "keras": keras,
        "keras_resnext": keras_resnext,
        "np": np,
        "image": PIL.Image.fromarray(noise),
        "images": np.zeros((1, 224, 224, 3), "float32"),
        "pixels": np.zeros((1, 224, 224, 3), "float32"),
    }


def short_model():
    """Return a ResNeXt-50 of fewer blocks, with the last ones' names."""
    return keras_resnext.get_model(
        "resnext50_32x4d", weights=None, depths=(1, 1, 1, 3)
    )


@pytest.mark.parametrize(("module", "text"), list(examples()))
def test_examples_run(module, text, reader):
    scope = vars(importlib.import_module(module)) | reader
    code = text.partition(">>>")[2]
    if re.search(r"\bmodel\b", code) and "model = " not in code:
        scope["model"] = short_model()
    test = doctest.DocTestParser().get_doctest(text, scope, module, module, 0)
    printed = []
    runner = doctest.DocTestRunner(
        Checker(), verbose=False, optionflags=doctest.ELLIPSIS
    )
    runner.run(test, out=printed.append)
    assert not runner.failures, "".join(printed)
