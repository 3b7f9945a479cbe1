"""Small models of all kinds of variants: predict, fold, fit and export."""

import dataclasses
import math

import keras
import numpy as np
import pytest

import keras_resnext
from keras_resnext import VARIANTS
from keras_resnext import FixedCardinality
from keras_resnext import FixedGroupWidth
from keras_resnext.layers import Conv2D

BACKEND = keras.backend.backend()
FIELDS = [each.name for each in dataclasses.fields(VARIANTS["resnext26ts"])]
FORMATS = {"tensorflow": ["onnx"], "jax": ["saved_model"], "torch": ["torch"]}
SIZE = 64  # the least that bilinear attention takes in two stages
LABELS = ["cat", "dog", "emu"]
GROUPINGS = {
    FixedCardinality: FixedCardinality(2, 16),
    FixedGroupWidth: FixedGroupWidth(16),
}


def kind_of(row):
    """Return a small configuration, the same for all rows of a kind.

    Depth, width and number of groups don't make a kind; every other field
    does, also one that `ResNeXtConfig` will have later.
    """
    widths = (8,) * len(row.stem.widths)
    return dataclasses.replace(
        row,
        depths=(1, 1),
        out_channels=(128, 128),
        grouping=GROUPINGS[type(row.grouping)],
        stem=dataclasses.replace(row.stem, widths=widths),
        default_size=SIZE,
    )


def kinds_of(rows):
    """Return small configurations by the name of each kind's first row."""
    names = {}
    for name, row in rows.items():
        names.setdefault(kind_of(row), name)
    return {name: config for config, name in names.items()}


KINDS = kinds_of(VARIANTS)


def build(name):
    """Build a small model of a kind, no weight of which is a constant."""
    model = keras_resnext.ResNeXt(
        KINDS[name], classes=3, classifier_activation=None, name=name
    )
    keras_resnext.set_data_config(model, size=SIZE, labels=LABELS)
    random = np.random.default_rng(0)
    for variable in model.weights:
        values = keras.ops.convert_to_numpy(variable)
        if np.ptp(values) == 0:  # as those that make attention an identity
            values = values + random.uniform(-0.5, 0.5, values.shape)
        if variable.name == "gamma":
            values = values * random.choice([-1, 1], values.shape, p=[0.3, 0.7])
        variable.assign(values)
    return model


def images(count):
    random = np.random.default_rng(count)
    colors = random.normal(size=(count, 1, 1, 3))
    noise = random.normal(size=(count, SIZE, SIZE, 3))
    return (colors + noise).astype("float32")


@pytest.mark.parametrize("name", VARIANTS)
def test_every_row_is_its_kind_in_another_size(name):
    row = VARIANTS[name]
    (kind,) = [key for key, config in KINDS.items() if config == kind_of(row)]
    tested = VARIANTS[kind]
    assert len(row.stem.widths) == len(tested.stem.widths)
    assert type(row.grouping) is type(tested.grouping)
    assert row == dataclasses.replace(
        tested,
        depths=row.depths,
        out_channels=row.out_channels,
        grouping=row.grouping,
        stem=dataclasses.replace(tested.stem, widths=row.stem.widths),
        default_size=row.default_size,
    )


def test_a_row_of_a_new_kind_is_one_more():
    row = VARIANTS["resnext50_32x4d"]
    deeper = dataclasses.replace(
        row, depths=(1, 2, 3, 4), grouping=FixedCardinality(16, 8)
    )
    assert kinds_of({**VARIANTS, "deeper": deeper}) == KINDS
    for field, value in {
        "attention": keras_resnext.Attention("gc"),
        "activation": "gelu",
        "grouping": FixedGroupWidth(16),
        "stem": keras_resnext.Stem(pool="avg"),
        "antialias": True,
        "stage": "cross_stage",
    }.items():
        new = dataclasses.replace(row, **{field: value})
        assert kinds_of({**VARIANTS, "new": new}) == {
            **KINDS,
            "new": kind_of(new),
        }


# One image is left over, which JAX compiles another function for: its sizes
# are always known.
SHAPES = (2, 4, 2) if BACKEND == "jax" else (2, 5, 3)


@pytest.mark.parametrize("name", KINDS)
def test_each_kind(name):
    batch_size, count, few = SHAPES
    model, x = build(name), images(count)
    expected = keras.ops.convert_to_numpy(model(x, training=False))
    atol = 1e-5 * np.abs(expected).max()
    assert expected.shape == (count, 3)
    assert np.isfinite(expected).all()
    assert np.ptp(expected, axis=0).min() > 1e-3
    batches = model.predict(x, batch_size=batch_size, verbose=0)
    np.testing.assert_allclose(batches, expected, rtol=0, atol=atol)

    folded = keras_resnext.optimize_for_inference(model)
    found = keras.ops.convert_to_numpy(folded(x, training=False))
    np.testing.assert_allclose(found, expected, rtol=0, atol=10 * atol)
    for layer in folded._flatten_layers():
        assert not isinstance(layer, keras.layers.BatchNormalization)
        assert not isinstance(layer, Conv2D) or layer.use_bias

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # In a graph what has every value of every field; TensorFlow takes long.
    eagerly = BACKEND == "tensorflow" and name not in fewest()
    model.compile(keras.optimizers.SGD(0.1), loss, run_eagerly=eagerly)
    before = model.get_weights()
    history = model.fit(
        images(few), np.arange(few), batch_size, shuffle=False, verbose=0
    )
    assert math.isfinite(*history.history["loss"])
    for variable, old in zip(model.weights, before, strict=True):
        new = keras.ops.convert_to_numpy(variable)
        assert np.isfinite(new).all(), variable.path
        # Batch normalization subtracts again a vector that is added before it.
        if new.ndim > 1 or not variable.trainable:
            assert (new != old).any(), variable.path


def fewest():
    """Return kinds that have every value of every field between them."""
    names, known = [], set()
    for name, config in reversed(KINDS.items()):
        fields = {(each, str(getattr(config, each))) for each in FIELDS}
        if not fields <= known:
            names.append(name)
            known |= fields
    return names


def export(names, formats, directory):
    # In one file, as starting another process takes long.
    inputs = keras.Input((SIZE, SIZE, 3))
    outputs = {name: build(name)(inputs) for name in names}
    model = keras.Model(inputs, outputs, name="kinds")
    report = keras_resnext.export(model, directory, formats)
    assert [row.format for row in report.rows] == formats
    assert report.ok


@pytest.mark.parametrize(
    "names",
    [fewest(), pytest.param(list(KINDS), marks=pytest.mark.slow)],
    ids=["fewest", "all"],
)
def test_kinds_are_exported(names, tmp_path):
    export(names, FORMATS[BACKEND], tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="others write no TFLite")
def test_attention_to_pixels_is_exported_to_tflite(tmp_path):
    names = [
        name
        for name, config in KINDS.items()
        if config.attention and config.attention.kind in ("gc", "bat")
    ]
    assert len(names) > 1
    export(names, ["tflite"], tmp_path)
