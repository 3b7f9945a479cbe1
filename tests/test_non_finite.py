"""NaN in an image or in a weight leads to NaN, never to a prediction."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_resnext
from keras_resnext import VARIANTS
from keras_resnext import FixedCardinality

# Between them: maximum of windows, ReLU, SiLU and leaky ReLU, sums, and what
# stands in layers of attention.
NAMES = [
    "resnext50_32x4d",
    "seresnext26ts",
    "skresnext50_32x4d",
    "cspresnext50",
]


def build(name, dtype="float32"):
    keras.config.set_dtype_policy(dtype)
    row = VARIANTS[name]
    config = dataclasses.replace(
        row,
        depths=(1, 1),
        out_channels=(64, 128),
        grouping=FixedCardinality(2, 16),
        stem=dataclasses.replace(row.stem, widths=(8,) * len(row.stem.widths)),
    )
    model = keras_resnext.ResNeXt(
        config,
        input_shape=(32, 32, 3),
        classes=3,
        classifier_activation=None,
    )
    random = np.random.default_rng(0)
    model.set_weights(
        [
            w + random.uniform(-0.5, 0.5, w.shape) if np.ptp(w) == 0 else w
            for w in model.get_weights()
        ]
    )
    return model


def logits(model, x):
    return np.asarray(model.predict_on_batch(x), "float32")


@pytest.mark.parametrize("folded", [False, True], ids=["plain", "folded"])
@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, "float32") for name in NAMES), (NAMES[0], "mixed_bfloat16")],
)
def test_nan_comes_out_as_nan(name, dtype, folded):
    model = build(name, dtype)
    if folded:
        model = keras_resnext.optimize_for_inference(model)
    x = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype("float32")
    assert np.isfinite(logits(model, x)).all()

    x[1, 13, 14, 2] = np.nan
    found = logits(model, x)
    assert np.isnan(found[1]).all()
    assert np.isfinite(found[[0, 2]]).all()

    x = np.nan_to_num(x)
    for variable in model.weights:
        array = keras.ops.convert_to_numpy(variable)
        broken = array.copy()
        broken.flat[array.size // 2] = np.nan
        variable.assign(broken)
        found = np.isnan(logits(model, x))
        variable.assign(array)
        # The classifier's reaches the scores of one class.
        last = variable.path.startswith("predictions")
        assert found.any() if last else found.all(), variable.path


@pytest.mark.parametrize("name", NAMES)
def test_nan_in_an_image_shows_in_the_loss(name):
    model = build(name)
    x = np.ones((4, 32, 32, 3), "float32")
    x[2, 5, 5, 1] = np.nan
    model.compile("sgd", "mse")
    assert np.isnan(model.train_on_batch(x, np.zeros((4, 3), "float32")))


@pytest.mark.slow
@pytest.mark.skipif(
    keras.config.backend() != "tensorflow"
    or os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "1",
    reason="about TensorFlow's kernels, or itself",
)
def test_with_onednn():
    """Only on some processors it is there by default: else everything again."""
    import tensorflow as tf

    from keras_resnext.kernels import tensorflow

    if tensorflow._trains(tf.float32, groups=2):
        pytest.skip("it is there by default")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", __file__],
        cwd=pathlib.Path(__file__).parents[1],
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout
