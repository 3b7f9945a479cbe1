"""Models in other runtimes: the same function, or an error."""

import dataclasses
import functools
import json
import math
import pathlib
import re
import runpy
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import keras_resnext
from keras_resnext import exporting
from keras_resnext.exporting import comparison
from keras_resnext.exporting import exporter
from keras_resnext.exporting import formats

BACKEND = keras.backend.backend()
FOLDER = "saved_model" if BACKEND == "jax" else "openvino"
QUICK = "onnx" if BACKEND == "tensorflow" else FOLDER
LABELS = [f"class {i}" for i in range(10)]


@functools.cache
def model_of(config, **arguments):
    """Build a model once; `model.__wrapped__` builds another to change."""
    model = keras_resnext.ResNeXt(
        config, **{"classes": 10, "classifier_activation": None, **arguments}
    )
    keras_resnext.set_data_config(model, size=32, crop_pct=1.0)
    if arguments.get("include_top", True):
        labels = [f"class {i}" for i in range(model.output_shape[-1])]
        keras_resnext.set_data_config(model, labels=labels)
    return model


def images(count=12, size=32, channels=3):
    random = np.random.default_rng(count)
    shape = (count, size, size, channels)
    return random.integers(0, 256, shape).astype("uint8")


def logits(model, pixels):
    return model.predict_on_batch(keras_resnext.preprocess_input(pixels))


def files(directory):
    return sorted(path.name for path in pathlib.Path(directory).iterdir())


def stored(path):
    """Return the number of weights in a SavedModel."""
    import tensorflow as tf

    found = tf.train.list_variables(str(path / "variables" / "variables"))
    return sum(
        math.prod(shape) for name, shape in found if "VARIABLE_VALUE" in name
    )


@pytest.fixture
def run_example(monkeypatch, capsys):
    """Return a function that runs a script: scores by class, highest first."""

    def run(path, image):
        monkeypatch.setattr(sys, "argv", [str(path), str(image)])
        runpy.run_path(str(path), run_name="__main__")
        rows = re.findall(
            r"^ *(-?[\d.]+)  (.+)$", capsys.readouterr().out, re.M
        )
        return {label: float(score) for score, label in rows}

    return run


def test_every_format_is_the_model(tiny, tmp_path, run_example):
    model, data = model_of(tiny), images()
    possible = [
        name
        for name, each in formats.FORMATS.items()
        if not each.missing(BACKEND)
    ]
    if BACKEND != "tensorflow":  # which writes one of these for the others
        possible = [QUICK, "tflite_int8"]
    classes = np.arange(12) % 10
    report = keras_resnext.export(
        model,
        tmp_path,
        None if BACKEND == "tensorflow" else possible,
        representative_data=(data, classes),
        labels=LABELS,
    )
    assert [row.format for row in report.rows] == possible
    assert report.ok
    assert (report.images, report.synthetic) == (12, False)
    right = logits(model, data).argmax(-1) == classes
    assert report.accuracy == right.mean()
    limits = {"tflite_float16": 1e-2, "tflite_dynamic": 0.1}
    photographs = [Image.fromarray(image) for image in images(3, size=70)]
    transform = keras_resnext.evaluation_transform(model)
    expected = logits(model, np.stack(list(map(transform.pixels, photographs))))
    for row in report.rows:
        limit = 0.2 if "_int8" in row.format else 1e-4
        assert row.difference <= limits.get(row.format, limit), row.format
        assert row.agreement >= 0.9
        assert abs(row.accuracy - report.accuracy) <= 0.1
        assert min(row.bytes, row.latency_ms, row.images_per_second) > 0
        assert row.format in str(report)
        # On photographs that need resizing, in its runtime.
        threads = None if row.format == "saved_model" else 1
        exported = keras_resnext.load_exported(tmp_path / row.path, threads)
        assert (exported.format, exported.labels) == (row.format, tuple(LABELS))
        found = exported(photographs)
        scale = np.abs(expected).max()
        tolerance = limits.get(row.format, limit) * scale
        np.testing.assert_allclose(found, expected, atol=tolerance)
    with pytest.raises(ValueError, match=f"{len(possible)} exported files"):
        keras_resnext.load_exported(tmp_path)
    sizes = {row.format: row.bytes for row in report.rows}
    if BACKEND == "tensorflow":
        assert sizes["tflite_float16"] < 0.8 * sizes["tflite"]
        assert sizes["tflite_int8"] < 0.8 * sizes["tflite"]
    if "saved_model" in possible:
        folded = keras_resnext.optimize_for_inference(model)
        assert stored(tmp_path / "saved_model") == folded.count_params()
    assert files(tmp_path) == sorted(
        [
            "labels.txt",
            "report.json",
            *(f"run_{name}.py" for name in possible),
            *(formats.FORMATS[name].file for name in possible),
        ]
    )
    assert (tmp_path / "labels.txt").read_text().splitlines() == LABELS
    record = json.loads((tmp_path / "report.json").read_text())
    assert record["ok"]
    assert [row["format"] for row in record["rows"]] == possible

    # An image of the model's size is neither resized nor cropped.
    Image.fromarray(data[0]).save(tmp_path / "image.png")
    expected = logits(model, data[:1])[0]
    # All load as they were validated; what follows in the scripts is the same.
    found = run_example(tmp_path / f"run_{QUICK}.py", tmp_path / "image.png")
    assert len(found) == 5
    for label, score in found.items():
        true = expected[LABELS.index(label)]
        assert abs(score - true) <= 1e-3 * np.abs(expected).max()


@pytest.mark.skipif(BACKEND == "jax", reason="JAX writes no ONNX")
def test_onnx_needs_no_other_format_and_pads_within_its_operations(
    tiny, tmp_path
):
    import onnx

    stem = keras_resnext.Stem(widths=(8,))  # of 7x7, and a pool
    model = model_of(dataclasses.replace(tiny, stem=stem))
    assert keras_resnext.export(model, tmp_path, ["onnx"]).ok
    nodes = onnx.load(tmp_path / "model.onnx").graph.node
    kinds = {node.op_type for node in nodes}
    assert {"Conv", "MaxPool"} < kinds
    if BACKEND == "tensorflow":  # others pad in the op
        assert not kinds & {"Pad", "BatchNormalization"}


def test_an_artifact_without_preprocessing_replaces_another(
    tiny, tmp_path, run_example
):
    model = model_of.__wrapped__(tiny)
    keras_resnext.set_data_config(model, labels=None)
    path = tmp_path / formats.FORMATS[QUICK].file
    path.mkdir()
    (path / "old").write_text("old")
    # Files of a killed export, which no process needs.
    killed = tmp_path / f".new-{'0' * 32}"
    (killed / "new" / "saved_model").mkdir(parents=True)
    killed.with_name(f"{killed.name}.lock").touch()
    with pytest.warns(UserWarning, match="no labels.txt is written"):
        report = keras_resnext.export(
            model, tmp_path, [QUICK], include_preprocessing=False
        )
    assert report.synthetic
    assert report.rows[0].difference <= 1e-4
    assert not (path / "old").exists()
    assert files(tmp_path) == sorted(
        [path.name, "report.json", f"run_{QUICK}.py"]
    )
    Image.fromarray(images(1)[0]).save(tmp_path / "image.png")
    found = run_example(tmp_path / f"run_{QUICK}.py", tmp_path / "image.png")
    expected = logits(model, images(1))[0]
    assert list(found) == [str(i) for i in expected.argsort()[::-1][:5]]


def test_images_of_many_channels_are_no_pixels(tiny, tmp_path):
    for channels in (4, 2):
        model = model_of(tiny, input_shape=(32, 32, channels))
        check_refused(model, tmp_path, "which are not pixels")
    report = keras_resnext.export(
        model, tmp_path, [QUICK], include_preprocessing=False, labels=LABELS
    )
    assert report.ok
    # What loads a file of RGB pixels can't prepare these.
    path = formats.FORMATS[QUICK].file
    assert files(tmp_path) == sorted([path, "labels.txt", "report.json"])


@pytest.mark.skipif(BACKEND != "torch", reason="TensorFlow has no such kernel")
def test_pixels_are_channels_last_for_a_network_that_is_not(tiny, tmp_path):
    keras.config.set_image_data_format("channels_first")
    model = model_of(tiny, input_shape=(3, 32, 32))
    report = keras_resnext.export(
        model, tmp_path, [QUICK], representative_data=images()
    )
    assert report.ok


@pytest.mark.parametrize(
    ("error", "expected"),
    [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(28, "full"), OSError)],
)
def test_what_stops_leaves_what_was_there(
    tiny, tmp_path, monkeypatch, error, expected
):
    def stop(format, model, path):
        path.mkdir()
        (path / "half").write_text("half")
        raise error

    monkeypatch.setattr(exporter.Format, "write", stop)
    model, new = model_of(tiny), tmp_path / "new"
    (tmp_path / "report.json").write_text("old")
    with pytest.raises(expected):
        keras_resnext.export(model, tmp_path, [QUICK])
    assert files(tmp_path) == ["report.json"]
    assert (tmp_path / "report.json").read_text() == "old"
    with pytest.raises(expected):
        keras_resnext.export(model, new, [QUICK])
    assert not new.exists()


def test_what_computes_something_else_is_an_error(tiny, tmp_path, monkeypatch):
    def wrong(model):
        made = keras.models.clone_model(model)
        made.set_weights([1.01 * each for each in model.get_weights()])
        return made

    monkeypatch.setattr(exporter, "optimize_for_inference", wrong)
    with pytest.raises(exporting.ExportError, match=f"'{QUICK}' differs") as e:
        keras_resnext.export(model_of(tiny), tmp_path, [QUICK])
    assert not e.value.report.ok
    assert files(tmp_path) == []


def test_what_does_not_run_is_an_error(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(
        exporter.Format, "write", lambda format, model, path: path.mkdir()
    )
    with pytest.raises(exporting.ExportError, match="does not run"):
        keras_resnext.export(model_of(tiny), tmp_path, [QUICK])
    assert files(tmp_path) == []


def test_the_file_that_does_not_run_is_named(tmp_path):
    inputs, files = tmp_path / "inputs.npz", []
    np.savez(inputs, **{"0": images(1)})
    for name, body in {
        "first": "return lambda x: {'y': x}",
        "second": "raise OSError('no such kernel')",
        "third": "raise AssertionError",
    }.items():
        loader = tmp_path / f"run_{name}.py"
        loader.write_text(f"def load(path):\n    {body}\n")
        files += [loader, loader, tmp_path / f"{name}.npz"]
    match = "'second' was written but does not run: OSError: no such kernel"
    with pytest.raises(exporting.ExportError, match=match):
        comparison.run(files, inputs)


def check_refused(model, tmp_path, match, error=ValueError, **arguments):
    with pytest.raises(error, match=match):
        keras_resnext.export(
            model, tmp_path / "new", **{"formats": [QUICK], **arguments}
        )
    assert not (tmp_path / "new").exists()


def test_unknown_formats_are_refused(tiny, tmp_path):
    model = model_of(tiny)
    for names, match in (
        (["onxx"], "no format 'onxx'.*Did you mean 'onnx'"),
        ([], "empty"),
    ):
        check_refused(model, tmp_path, match, formats=names)
    for name in ("tflite_int8", "onnx_int8", "openvino_int8"):
        check_refused(model, tmp_path, "representative_data", formats=[name])


def test_a_missing_package_names_its_extra(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    other = "torch" if BACKEND == "tensorflow" else "tensorflow"
    extra = "tensorflow" if BACKEND == "jax" else "export"
    for name, needed in (
        (QUICK, extra),
        ("torch" if BACKEND == "tensorflow" else "tflite", other),
    ):
        check_refused(
            model_of(tiny),
            tmp_path,
            rf"pip install 'keras_resnext\[{needed}\]'",
            ImportError,
            formats=[name],
        )


def test_other_models_are_refused(tiny, tmp_path):
    x = keras.Input((8,))
    check_refused(keras.Model(x, x), tmp_path, "built by keras_resnext")
    two = [keras.Input((32, 32, 3)), keras.Input((2,))]
    x = model_of(tiny, include_top=False, pooling="avg")(two[0])
    x = keras.layers.Concatenate()([x, two[1]])
    check_refused(keras.Model(two, x), tmp_path, "as its only input")
    keras.config.set_dtype_policy("mixed_bfloat16")
    mixed = model_of.__wrapped__(tiny)
    check_refused(mixed, tmp_path, "only float32 is exported")


@pytest.mark.once
@pytest.mark.parametrize(
    ("data", "match"),
    [
        (images(size=31), r"shape \(count, 32, 32, 3\)"),
        (images()[0], "of shape"),
        (images()[:0], "of shape"),
        (images() / 255, r"pixels in \[0, 255\]"),
        (images() - 100.0, r"pixels in \[0, 255\]"),
        (images() * np.nan, "finite"),
        ([images(2), images(2, 31)], "one shape"),
        ([], "one shape"),
        (7, "array of images"),
        ((images(), np.arange(11)), "one for each of the 12 images"),
        ((images(), np.arange(12)), "one of the 10 classes"),
        ((images(), np.ones(12)), "whole numbers"),
    ],
)
def test_other_data_are_refused(tiny, tmp_path, data, match):
    model = model_of(tiny)
    check_refused(model, tmp_path, match, representative_data=data)


def test_a_drop_of_accuracy_needs_classes(tiny, tmp_path):
    model = model_of(tiny)
    for data, drop, match in (
        (images(), 0.01, "with classes"),
        (None, 0.01, "with classes"),
        ((images(), np.arange(12) % 10), 1.0, "must be a share"),
    ):
        check_refused(
            model,
            tmp_path,
            match,
            representative_data=data,
            max_accuracy_drop=drop,
        )


def test_a_file_that_loses_accuracy_is_refused(tiny, tmp_path, monkeypatch):
    """All classes are the model's own, so that a file can only lose."""
    model, data = model_of(tiny), images(40)
    classes = logits(model, data).argmax(-1)

    def half(model):
        made = keras.models.clone_model(model)
        random = np.random.default_rng(0)
        made.set_weights(
            [
                each + random.normal(0, 1, each.shape)
                for each in model.get_weights()
            ]
        )
        return made

    monkeypatch.setattr(exporter, "optimize_for_inference", half)
    monkeypatch.setattr(comparison, "_AGREEMENT", 0.0)
    wide = dataclasses.replace(formats.FORMATS[QUICK], tolerance=None)
    monkeypatch.setitem(formats.FORMATS, QUICK, wide)
    with pytest.raises(exporting.ExportError, match="the model's 100") as e:
        keras_resnext.export(
            model,
            tmp_path,
            [QUICK],
            representative_data=(data, classes),
            max_accuracy_drop=0.1,
        )
    assert e.value.report.accuracy == 1.0
    assert e.value.report.rows[0].accuracy < 0.9


def test_data_that_are_not_normalized_are_refused(tiny, tmp_path):
    for data in (images(), images().astype("float32")):
        check_refused(
            model_of(tiny),
            tmp_path,
            "normalized",
            representative_data=data,
            include_preprocessing=False,
        )


@pytest.mark.once
@pytest.mark.parametrize(
    "labels",
    [LABELS[:9], [*LABELS[:9], "two\nlines"], [f"{x}\n" for x in LABELS]],
)
def test_other_labels_are_refused(tiny, tmp_path, labels):
    check_refused(model_of(tiny), tmp_path, "label", labels=labels)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["resnext50_32x4d", "seresnext26d_32x4d", "resnext23s_4x32d"]
)
def test_real_models(name, tmp_path):
    # Random weights predict the same for all images: quantized, none differ.
    exact = [
        each.name
        for each in formats.FORMATS.values()
        if not each.missing(BACKEND) and each.tolerance is not None
    ]
    model = keras_resnext.get_model(name, weights=None)
    keras_resnext.set_data_config(model, size=model.input_shape[1])
    report = keras_resnext.export(model, tmp_path, exact)
    assert [row.format for row in report.rows] == exact
    assert report.ok
