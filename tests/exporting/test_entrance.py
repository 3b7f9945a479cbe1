"""Pictures out of nothing, and what stands before a network."""

import dataclasses

import numpy as np
import pytest

import keras_resnext
from keras_resnext.exporting.entrance import Entrance
from keras_resnext.exporting.entrance import checked

TRANSFORM = keras_resnext.EvaluationTransform(resize=40, crop=32)


def door(channels=3, data_format="channels_last", pixels=True):
    return Entrance((32, 32), channels, data_format, TRANSFORM, pixels)


@pytest.mark.parametrize("channels", [1, 3])
def test_drawn_pictures_are_smooth_and_the_same(channels):
    made = door(channels).drawn()
    assert made.shape == (8, 32, 32, channels)
    assert made.dtype == np.uint8
    np.testing.assert_array_equal(made, door(channels).drawn())
    steps = np.abs(np.diff(made.astype(float), axis=1)).mean()
    assert steps < 0.7 * made.std()
    assert len(np.unique(made)) > 100


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_normalized_is_preprocess_input(data_format):
    pixels = door().drawn()
    expected = keras_resnext.preprocess_input(pixels, "channels_last")
    if data_format == "channels_first":
        expected = expected.transpose(0, 3, 1, 2)
    plain = door(data_format=data_format, pixels=False)
    np.testing.assert_allclose(plain.drawn(), expected, atol=1e-6)
    assert plain.drawn().shape[1:] == plain.shape


def test_batches_and_pictures_are_put_together():
    x = door().drawn()
    for data in (x, x.astype("float32"), list(x), iter([x[:3], x[3:]])):
        np.testing.assert_array_equal(checked(data, door()), x)


def test_a_model_that_normalizes_takes_pixels_without_preprocessing():
    """As floats, and as integers too."""
    whole = keras_resnext.EvaluationTransform(
        *(40, 32), mean=(0, 0, 0), std=(1 / 255,) * 3
    )
    plain = dataclasses.replace(door(pixels=False), transform=whole)
    x = door().drawn()
    for data in (x, x.astype("float32"), x.astype("float64") / 2):
        found = checked(data, plain)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, data)
    for wrong in (x / 255, x - 100.0, x * 2.0):
        with pytest.raises(ValueError, match=r"pixels in \[0, 255\]"):
            checked(wrong, plain)
