"""The input of exported files, and the images that they are compared on."""

import dataclasses

import numpy as np
import pytest

import keras_resnext
from keras_resnext.exporting.input_spec import InputSpec
from keras_resnext.exporting.samples import read_samples

pytestmark = pytest.mark.once

TRANSFORM = keras_resnext.EvaluationTransform(resize=40, crop_size=32)


def input_spec(channels=3, data_format="channels_last", pixels=True):
    return InputSpec((32, 32), channels, data_format, TRANSFORM, pixels)


@pytest.mark.parametrize("channels", [1, 3])
def test_synthetic_images_are_smooth_and_the_same(channels):
    made = input_spec(channels).synthesize()
    assert made.shape == (8, 32, 32, channels)
    assert made.dtype == np.uint8
    np.testing.assert_array_equal(made, input_spec(channels).synthesize())
    steps = np.abs(np.diff(made.astype(float), axis=1)).mean()
    assert steps < 0.7 * made.std()
    assert len(np.unique(made)) > 100


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_normalize_is_preprocess_input(data_format):
    pixels = input_spec().synthesize()
    expected = keras_resnext.preprocess_input(pixels, "channels_last")
    if data_format == "channels_first":
        expected = expected.transpose(0, 3, 1, 2)
    plain = input_spec(data_format=data_format, pixels=False)
    np.testing.assert_allclose(plain.synthesize(), expected, atol=1e-6)
    assert plain.synthesize().shape[1:] == plain.shape


def read(data, spec):
    return read_samples(data, spec, None, "model").images


def test_batches_and_images_are_put_together():
    x = input_spec().synthesize()
    for data in (x, x.astype("float32"), list(x), iter([x[:3], x[3:]])):
        np.testing.assert_array_equal(read(data, input_spec()), x)


def test_a_model_that_normalizes_takes_pixels_without_preprocessing():
    """Floats, and integers too."""
    whole = keras_resnext.EvaluationTransform(
        *(40, 32), mean=(0, 0, 0), std=(1 / 255,) * 3
    )
    plain = dataclasses.replace(input_spec(pixels=False), transform=whole)
    x = input_spec().synthesize()
    for data in (x, x.astype("float32"), x.astype("float64") / 2):
        found = read(data, plain)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, data)
    for wrong in (x / 255, x - 100.0, x * 2.0):
        with pytest.raises(ValueError, match=r"pixels in \[0, 255\]"):
            read(wrong, plain)
