"""Multiply-adds and receptive fields, against what others publish."""

import keras
import pytest

import keras_resnext
from keras_resnext.complexity import multiply_adds
from keras_resnext.complexity import receptive_fields


def build(name, **options):
    with keras.StatelessScope(initialize_variables=False):
        return keras_resnext.get_model(name, weights=None, **options)


# Billions, as torchvision's records of its weights have them.
@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("resnext50_32x4d", 4.23),
        ("resnext101_32x8d", 16.414),
        ("resnext101_64x4d", 15.46),
    ],
)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_torchvisions_figures(name, billions, data_format):
    keras.config.set_image_data_format(data_format)
    total = multiply_adds(build(name))
    assert total / 1e9 == pytest.approx(billions, abs=0.005)


def test_network_for_cifar_by_hand():
    # 3x3 stem; then each stage's blocks of 1x1, grouped 3x3, 1x1, shortcuts.
    total, channels = 32 * 32 * 9 * 3 * 64, 64
    for stage, side in enumerate((32, 16, 8)):
        width, out = 512 * 2**stage, 256 * 2**stage
        for block in range(3):
            before = 4 if stage and block == 0 else 1
            total += side * side * before * channels * width
            total += side * side * (9 * width * (width // 8) + width * out)
            total += side * side * channels * out if block == 0 else 0
            channels = out
    total += channels * 10
    assert multiply_adds(build("resnext29_8x64d", classes=10)) == total


def test_size_must_be_known():
    with pytest.raises(ValueError, match="input_shape"):
        multiply_adds(build("resnext26ts", include_top=False))


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        # Those of a ResNet-50 and a ResNet-101 that stride in the 3x3.
        ("resnext50_32x4d", {"stem_pool": 11, "stage4_block3_out": 427}),
        ("resnext101_32x4d", {"stage1_block3_out": 35, "avg_pool": 971}),
        # Three stages of three 3x3: 3 + 6, 2 + 2 x 4, 4 + 2 x 8 pixels.
        ("resnext29_8x64d", {"stage1_block3_out": 9, "stage3_block3_out": 39}),
        # Both paths of a selective kernel; the dilated one sees more.
        ("skresnext50_32x4d", {"stage1_block1_out": 27}),
    ],
)
def test_receptive_fields(name, fields):
    found = receptive_fields(build(name))
    assert {layer: found[layer] for layer in fields} == fields
