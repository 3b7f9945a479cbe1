"""Exported files as functions of images."""

import shutil
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import keras_resnext
from keras_resnext.exporting import formats

BACKEND = keras.backend.backend()
QUICK = {"tensorflow": "onnx", "jax": "saved_model", "torch": "torch"}[BACKEND]
LABELS = [f"class {i}" for i in range(10)]


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    """Return a folder with the files of a model for pixels, and the model."""
    folder = tmp_path_factory.mktemp("exported")
    model = keras_resnext.ResNeXt(tiny, classes=10)
    keras_resnext.set_data_config(model, size=32, crop_pct=0.8, labels=LABELS)
    keras_resnext.export(model, folder / "pixels", [QUICK])
    keras_resnext.export(
        model, folder / "images", [QUICK], include_preprocessing=False
    )
    return folder, model


def photographs():
    random = np.random.default_rng(0)
    shape = (60, 90, 3)
    return [
        Image.fromarray(random.integers(0, 256, shape, "uint8"))
        for _ in range(3)
    ]


def test_a_file_returns_what_the_model_returns(folder):
    """On photographs that need resizing, on pixels, and on normalized ones."""
    folder, model = folder
    transform = keras_resnext.evaluation_transform(model)
    pixels = np.stack([transform.pixels(image) for image in photographs()])
    expected = model.predict_on_batch(transform.normalize(pixels))
    threads = None if QUICK == "saved_model" else 1
    exported = keras_resnext.load_exported(folder / "pixels", threads)
    assert exported.format == QUICK
    assert exported.labels == tuple(LABELS)
    assert exported.classes == 10
    assert exported.transform == transform
    for batch in (photographs(), pixels):
        np.testing.assert_allclose(exported(batch), expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"uint8 and shape \(batch, 32"):
        exported(transform.normalize(pixels))
    exported = keras_resnext.load_exported(folder / "images")  # of one file
    for batch in (photographs(), pixels, transform.normalize(pixels)):
        np.testing.assert_allclose(exported(batch), expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"Received: float32 of shape \(3, 16"):
        exported(pixels[:, :16])


def test_a_file_alone_takes_arrays_only(folder, tmp_path):
    folder, _ = folder
    file = formats.FORMATS[QUICK].file
    (folder / "pixels" / file).rename(tmp_path / file)
    exported = keras_resnext.load_exported(tmp_path / file)
    (tmp_path / file).rename(folder / "pixels" / file)
    assert exported.format == QUICK
    assert exported.labels is None
    assert exported(np.zeros((2, 32, 32, 3), "uint8")).shape == (2, 10)
    with pytest.raises(ValueError, match=r"no report\.json"):
        exported(photographs())
    with pytest.raises(ValueError, match="empty list"):
        exported([])


def test_the_only_file_of_a_folder_is_found(folder, tmp_path):
    folder, _ = folder
    name = formats.FORMATS[QUICK].file
    (tmp_path / name).symlink_to(folder / "pixels" / name)
    assert keras_resnext.load_exported(tmp_path).path == tmp_path / name
    (tmp_path / "labels.txt").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"labels\.txt' is not text in UTF-8"):
        keras_resnext.load_exported(tmp_path)


def test_mistakes_get_one_sentence(folder, tmp_path):
    folder, _ = folder
    file = folder / "pixels" / formats.FORMATS[QUICK].file
    for path, threads, error, match in (
        (tmp_path / "nowhere", None, FileNotFoundError, "no file or folder"),
        (tmp_path, None, ValueError, "not an exported file"),
        (file, 0, ValueError, "`threads` must be from 1 to"),
        (file, 10**6, ValueError, "`threads` must be from 1 to"),
    ):
        with pytest.raises(error, match=match):
            keras_resnext.load_exported(path, threads)
    (tmp_path / "report.json").write_text("[")
    with pytest.raises(ValueError, match="not the report"):
        keras_resnext.load_exported(tmp_path)


def test_a_damaged_file_is_refused(folder, tmp_path):
    folder, _ = folder
    shutil.copytree(folder / "pixels", tmp_path / "cut")
    file = tmp_path / "cut" / formats.FORMATS[QUICK].file
    if file.is_dir():
        (file / "saved_model.pb").write_bytes(b"")
    else:
        file.write_bytes(file.read_bytes()[:-99])
    with pytest.raises(ValueError, match="is damaged, or was changed"):
        keras_resnext.load_exported(tmp_path / "cut")


def test_a_missing_runtime_is_named(folder, monkeypatch):
    folder, _ = folder
    runtime = {"onnx": "onnxruntime", "saved_model": "tensorflow"}
    monkeypatch.setitem(sys.modules, runtime.get(QUICK, QUICK), None)
    with pytest.raises(ImportError, match="pip install"):
        keras_resnext.load_exported(folder / "images")
