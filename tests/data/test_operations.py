"""Single operations against PIL's, over all of their strengths."""

import numpy as np
import PIL.Image
import PIL.ImageEnhance
import PIL.ImageOps
import pytest
import tensorflow as tf

from keras_resnext.data import operations

pytestmark = pytest.mark.once

FACTORS = np.linspace(0, 2, 21, dtype="float32")
FILL = (124, 116, 104)


def assert_same(photo, ours, theirs, share=0.0, level=0):
    """Assert that all but a share of the values are within some levels."""
    y = ours(tf.constant(photo, tf.float32)).numpy()
    assert y.dtype == "float32"
    theirs = np.asarray(theirs(PIL.Image.fromarray(photo)), "float32")
    assert y.shape == theirs.shape
    assert (np.abs(y - theirs) > level).mean() <= share


@pytest.fixture
def special(photos):
    """Photographs, and edge cases of histograms."""
    dark = photos[0] // 8
    two = np.where(photos[1] > 99, 30, 20).astype("uint8")
    return [*photos, dark, two, np.full((9, 8, 3), 77, "uint8")]


@pytest.mark.parametrize(
    "name", ["Brightness", "Color", "Contrast", "Sharpness"]
)
def test_enhance(photos, name):
    operation = tf.function(getattr(operations, name.lower()))
    for photo in photos:
        for factor in FACTORS:
            assert_same(
                photo,
                lambda x, factor=factor: operation(x, tf.constant(factor)),
                lambda x, factor=factor: getattr(PIL.ImageEnhance, name)(
                    x
                ).enhance(float(factor)),
            )


def test_posterize(photos):
    for bits in range(1, 9):
        assert_same(
            photos[0],
            lambda x, bits=bits: operations.posterize(x, bits),
            lambda x, bits=bits: PIL.ImageOps.posterize(x, bits),
        )
    assert not np.any(operations.posterize(tf.constant([255.0, 3]), 0))


def test_solarize(photos):
    for threshold in np.linspace(0, 256, 31):
        assert_same(
            photos[0],
            lambda x, threshold=threshold: operations.solarize(x, threshold),
            lambda x, threshold=threshold: PIL.ImageOps.solarize(x, threshold),
        )


def test_solarize_add(photos):
    for addend in (0, 11, 110, 128):
        table = [min(255, i + addend) if i < 128 else i for i in range(256)]
        assert_same(
            photos[0],
            lambda x, addend=addend: operations.solarize_add(x, addend),
            lambda x, table=table: x.point(table * 3),
        )


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (operations.invert, PIL.ImageOps.invert),
        (operations.auto_contrast, PIL.ImageOps.autocontrast),
        (operations.equalize, PIL.ImageOps.equalize),
    ],
)
def test_without_strength(special, ours, theirs):
    for photo in special:
        assert_same(photo, ours, theirs)


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize(
    ("name", "amounts", "matrix"),
    [
        ("shear_x", (-0.99, -0.3, 0, 0.11, 0.99), lambda a: (1, a, 0, 0, 1, 0)),
        ("shear_y", (-0.99, -0.3, 0, 0.11, 0.99), lambda a: (1, 0, 0, a, 1, 0)),
        ("translate_x", (-32, -7.3, 0, 5, 99), lambda a: (1, 0, a, 0, 1, 0)),
        ("translate_y", (-32, -7.3, 0, 5, 99), lambda a: (1, 0, 0, 0, 1, a)),
        ("rotate", (-135, -30, -0.7, 0, 4.5, 60, 131), None),
    ],
)
def test_geometry(photos, name, amounts, matrix, interpolation):
    resample = PIL.Image.Resampling[interpolation.upper()]

    def theirs(x, amount):
        if matrix is None:
            return x.rotate(amount, resample, fillcolor=FILL)
        return x.transform(
            x.size,
            PIL.Image.Transform.AFFINE,
            matrix(amount),
            resample,
            fillcolor=FILL,
        )

    def ours(x, amount):
        return getattr(operations, name)(x, amount, FILL, interpolation)

    for photo in photos:
        for amount in amounts:
            # PIL rounds coordinates to 16 bits and may find a neighbor.
            assert_same(
                photo,
                lambda x, amount=amount: ours(x, amount),
                lambda x, amount=amount: theirs(x, amount),
                share=0.01 if interpolation == "nearest" else 0.002,
                level=0 if interpolation == "nearest" else 1,
            )
