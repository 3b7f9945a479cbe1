"""The table of variants against the paper's arithmetic."""

import dataclasses
import types

import keras
import pytest

import keras_resnext
from keras_resnext import VARIANTS
from keras_resnext import ResNeXtConfig
from keras_resnext import Stem
from keras_resnext import Template

IMAGENET = (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)

# Depths, C, d, classes and the published number of trainable parameters.
PUBLISHED = {
    "resnext50_32x4d": (IMAGENET[0], 32, 4, 1000, 25_028_904),
    "resnext50d_32x4d": (IMAGENET[0], 32, 4, 1000, 25_048_136),
    "resnext101_32x4d": (IMAGENET[1], 32, 4, 1000, 44_177_704),
    "resnext101_32x8d": (IMAGENET[1], 32, 8, 1000, 88_791_336),
    "resnext101_32x16d": (IMAGENET[1], 32, 16, 1000, 194_026_792),
    "resnext101_32x32d": (IMAGENET[1], 32, 32, 1000, 468_530_472),
    "resnext101_32x48d": (IMAGENET[1], 32, 48, 1000, 828_411_176),
    "resnext101_64x4d": (IMAGENET[1], 64, 4, 1000, 83_455_272),
    "resnext152_32x4d": (IMAGENET[2], 32, 4, 1000, 59_951_400),
    "resnext29_8x64d": ((3, 3, 3), 8, 64, 10, 34_426_698),
    "resnext29_16x64d": ((3, 3, 3), 16, 64, 10, 68_155_210),
}
# With the moving statistics, as `count_params` counts.
WITH_STATISTICS = {
    "resnext50_32x4d": 25_097_128,
    "resnext101_32x4d": 44_315_560,
    "resnext101_32x8d": 88_994_216,
    "resnext101_64x4d": 83_658_152,
    "resnext29_8x64d": 34_484_170,
    "resnext29_16x64d": 68_255_690,
}
SMALLER = (
    "resnext50_32x4d",
    "resnext50d_32x4d",
    "resnext101_32x4d",
    "resnext29_8x64d",
)


def count(depths, cardinality, bottleneck_width, classes, stem):
    """Trainable parameters by Table 1 of the paper.

    Args:
        depths: Blocks of each stage.
        cardinality: The paper's C.
        bottleneck_width: The paper's d.
        classes: Number of classes.
        stem: Kernel size and filters of each convolution before the stages.
    """
    total, channels = 0, 3
    for size, filters in stem:
        total += size * size * channels * filters + 2 * filters
        channels = filters
    for stage, depth in enumerate(depths):
        planes = 64 * 2**stage
        width = planes * bottleneck_width // 64 * cardinality
        for _ in range(depth):
            total += channels * width + 2 * width
            total += 9 * width * width // cardinality + 2 * width
            total += width * 4 * planes + 2 * 4 * planes
            if channels != 4 * planes:
                total += channels * 4 * planes + 2 * 4 * planes
            channels = 4 * planes
    return total + channels * classes + classes


def test_every_row_is_counted():
    assert set(PUBLISHED) == set(VARIANTS)


def test_the_table_is_read_only():
    assert isinstance(VARIANTS, types.MappingProxyType)
    assert len(set(VARIANTS.values())) == len(VARIANTS)


@pytest.mark.parametrize("name", VARIANTS)
def test_rows_are_plain_data(name):
    row = VARIANTS[name]
    assert name == name.lower()
    assert hash(dataclasses.replace(row)) == hash(row)
    assert len(row.depths) == len(row.out_channels)
    assert not row.zero_init_last  # the paper's own start
    with pytest.raises(dataclasses.FrozenInstanceError):
        row.depths = (1,)


@pytest.mark.parametrize("name", VARIANTS)
def test_names_say_depth_and_template(name):
    row = VARIANTS[name]
    grouping = row.grouping
    template = f"{grouping.cardinality}x{grouping.bottleneck_width}d"
    stem = len(row.stem.widths)
    layers = sum(row.depths) * 3 + 2
    deep = "d" if stem == 3 else ""
    assert name == f"resnext{layers}{deep}_{template}"


@pytest.mark.parametrize("name", VARIANTS)
def test_analytic_parameters_are_the_published_ones(name):
    *arguments, published = PUBLISHED[name]
    stem = [(7, 64)]
    if "d_" in name:
        stem = [(3, 32), (3, 32), (3, 64)]
    elif "29" in name:
        stem = [(3, 64)]
    assert count(*arguments, stem) == published


@pytest.mark.parametrize(
    "name",
    [
        name if name in SMALLER else pytest.param(name, marks=pytest.mark.slow)
        for name in VARIANTS
    ],
)
def test_built_parameters_are_the_published_ones(name):
    *_, classes, published = PUBLISHED[name]
    # Variables are made without values: nobody has memory to waste.
    with keras.StatelessScope(initialize_variables=False):
        model = keras_resnext.ResNeXt(VARIANTS[name], classes=classes)
    total = model.count_params()
    moving = sum(v.shape[0] for v in model.non_trainable_variables)
    assert total - moving == published
    assert total == WITH_STATISTICS.get(name, total)


@pytest.mark.parametrize(
    ("cardinality", "bottleneck_width", "millions"),
    [(1, 64, 25.557), (2, 40, 25.425), (4, 24, 25.293), (8, 14, 25.603)],
)
def test_templates_of_constant_complexity(
    cardinality, bottleneck_width, millions
):
    expected = count(
        IMAGENET[0], cardinality, bottleneck_width, 1000, [(7, 64)]
    )
    assert round(expected / 1e6, 3) == millions
    config = dataclasses.replace(
        VARIANTS["resnext50_32x4d"],
        grouping=Template(cardinality, bottleneck_width),
    )
    with keras.StatelessScope(initialize_variables=False):
        model = keras_resnext.ResNeXt(config)
    moving = sum(v.shape[0] for v in model.non_trainable_variables)
    assert model.count_params() - moving == expected


@pytest.mark.parametrize("numbers", [(0, 4), (32, 0), (-1, 4), (32, -4)])
def test_templates_are_positive(numbers):
    with pytest.raises(ValueError, match="positive"):
        Template(*numbers)


def test_a_group_needs_a_channel():
    assert Template(32, 4).width_and_groups(64) == (32, 32)
    with pytest.raises(ValueError, match="at least 8"):
        Template(32, 4).width_and_groups(32)


@pytest.mark.parametrize("depths", [(), (3, 4, 6), (3, 4, 6, 3, 1)])
def test_depths_match_the_stages(depths):
    with pytest.raises(ValueError, match="depths"):
        ResNeXtConfig(depths=depths, grouping=Template(32, 4))


def test_shortcuts_are_known():
    with pytest.raises(ValueError, match="'conv', 'avg'"):
        ResNeXtConfig(
            depths=(1, 1, 1, 1), grouping=Template(32, 4), shortcut="max"
        )


def test_stem_pools_are_known():
    with pytest.raises(ValueError, match="max"):
        Stem(pool="avg")


def test_stages_have_blocks():
    with pytest.raises(ValueError, match="depths"):
        ResNeXtConfig(depths=(1, 0, 1, 1), grouping=Template(32, 4))
