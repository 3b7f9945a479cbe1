"""Docstrings of the package: each example runs, with the output shown."""

import ast
import doctest
import importlib
import re

import keras
import numpy as np
import PIL.Image
import pytest
from run_script import ROOT

import keras_resnext
from keras_resnext import resnext
from keras_resnext.weights import fetch

BUILD = resnext.build
# Examples that show figures of whole models or read a file of one; short
# models are enough for all others.
WHOLE = r"flowers|CLAIMS|count_params|num_parameters|multiply_adds|_fields"
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
def names(monkeypatch, reader, flowers, text):
    """Return the names that examples use."""
    if re.search(WHOLE, text):
        monkeypatch.setattr(resnext, "build", BUILD)
    (reader / flowers.name).hardlink_to(flowers)
    for split in (reader / "path" / "to" / "folder").iterdir():
        (split / "blue").rename(split / "cat")
        (split / "red").rename(split / "dog")
    monkeypatch.setattr(fetch, "fetch", lambda weights: flowers)
    with PIL.Image.open("image.jpg") as image:
        image.load()
    return {
        "keras": keras,
        "keras_resnext": keras_resnext,
        "np": np,
        "image": image,
        "images": np.zeros((1, 224, 224, 3), "float32"),
        "pixels": np.zeros((1, 224, 224, 3), "float32"),
    }


@pytest.mark.parametrize(("module", "text"), list(examples()))
def test_examples_run(module, text, names):
    scope = vars(importlib.import_module(module)) | names
    code = text.partition(">>>")[2]
    if re.search(r"\bmodel\b", code) and "model = " not in code:
        scope["model"] = keras_resnext.ResNeXt50(weights=None)
    test = doctest.DocTestParser().get_doctest(text, scope, module, module, 0)
    printed = []
    runner = doctest.DocTestRunner(
        Checker(), verbose=False, optionflags=doctest.ELLIPSIS
    )
    runner.run(test, out=printed.append)
    assert not runner.failures, "".join(printed)
