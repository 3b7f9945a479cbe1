"""Formats that another backend writes."""

import importlib.util

import keras
import numpy as np
import pytest

import keras_resnext
from keras_resnext import exporting
from keras_resnext.exporting import comparison

OTHER = "torch" if keras.backend.backend() == "tensorflow" else "tensorflow"
FORMAT = "torch" if OTHER == "torch" else "tflite"

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec(OTHER) is None, reason=f"needs {OTHER}"
    ),
    pytest.mark.filterwarnings("ignore:The names of:UserWarning"),
]


@keras.saving.register_keras_serializable(package="tests")
class Twice(keras.layers.Layer):
    """Layer of a user's own."""

    def call(self, x):
        return 2 * x


def model_of(tiny, module):
    Twice.__module__ = module
    inputs = keras.Input((32, 32, 3))
    x = keras_resnext.ResNeXt(tiny, include_top=False, pooling="avg")(inputs)
    model = keras.Model(inputs, Twice()(x), name="mine")
    keras_resnext.set_data_config(model, size=32)
    return model


def test_layers_of_a_users_own_are_imported(tiny, tmp_path):
    model = model_of(tiny, __name__)
    x = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3))
    x = x.astype("uint8")
    report = keras_resnext.export(
        model, tmp_path, [FORMAT], representative_data=x
    )
    assert report.ok


def test_layers_of_a_script_are_refused_in_a_sentence(
    tiny, tmp_path, monkeypatch
):
    monkeypatch.setattr(comparison, "run", None)
    model = model_of(tiny, "__main__")
    match = f"'{FORMAT}' can't be written: .*{OTHER}.* in a module, not in a"
    with pytest.raises(exporting.ExportError, match=match):
        keras_resnext.export(model, tmp_path / "new", [FORMAT])
    assert not (tmp_path / "new").exists()
