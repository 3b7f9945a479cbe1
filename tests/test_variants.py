"""The table of variants against the paper's arithmetic."""

import dataclasses
import math
import re
import types

import keras
import pytest

import keras_resnext
from keras_resnext import VARIANTS
from keras_resnext import Attention
from keras_resnext import FixedCardinality
from keras_resnext import FixedGroupWidth

pytestmark = pytest.mark.once

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
    "seresnext50_32x4d": (IMAGENET[0], 32, 4, 1000, 27_559_896),
    "seresnext101_32x4d": (IMAGENET[1], 32, 4, 1000, 48_955_416),
    "seresnext101_32x8d": (IMAGENET[1], 32, 8, 1000, 93_569_048),
    "seresnext101_64x4d": (IMAGENET[1], 64, 4, 1000, 88_232_984),
    "seresnext101d_32x8d": (IMAGENET[1], 32, 8, 1000, 93_588_280),
    "seresnextaa101d_32x8d": (IMAGENET[1], 32, 8, 1000, 93_588_280),
    "seresnextaa201d_32x8d": ((3, 24, 36, 4), 32, 8, 1000, 149_394_904),
    "seresnext26d_32x4d": ((2, 2, 2, 2), 32, 4, 1000, 16_809_512),
    "seresnext26t_32x4d": ((2, 2, 2, 2), 32, 4, 1000, 16_806_976),
    "ecaresnext26t_32x4d": ((2, 2, 2, 2), 32, 4, 1000, 15_406_220),
    "ecaresnext50t_32x4d": (IMAGENET[0], 32, 4, 1000, 25_045_686),
    "legacy_seresnext26_32x4d": ((2, 2, 2, 2), 32, 4, 1000, 16_790_280),
    "legacy_seresnext50_32x4d": (IMAGENET[0], 32, 4, 1000, 27_559_896),
    "legacy_seresnext101_32x4d": (IMAGENET[1], 32, 4, 1000, 48_955_416),
    "skresnext50_32x4d": (IMAGENET[0], 32, 4, 1000, 27_479_784),
    "cspresnext50": ((3, 3, 5, 2), 32, 4, 1000, 20_569_896),
    "bat_resnext26ts": ((2, 2, 2, 2), None, 32, 1000, 10_731_200),
    "resnext26ts": ((2, 2, 2, 2), None, 32, 1000, 10_297_952),
    "seresnext26ts": ((2, 2, 2, 2), None, 32, 1000, 10_388_064),
    "eca_resnext26ts": ((2, 2, 2, 2), None, 32, 1000, 10_297_988),
    "gcresnext26ts": ((2, 2, 2, 2), None, 32, 1000, 10_476_600),
    "gcresnext50ts": (IMAGENET[0], None, 32, 1000, 15_667_320),
    "resnext29_8x64d": ((3, 3, 3), 8, 64, 10, 34_426_698),
    "resnext29_16x64d": ((3, 3, 3), 16, 64, 10, 68_155_210),
    # Published by nobody else.
    "resnext23s_4x32d": ((1, 3, 3), 4, 32, 10, 921_514),
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
    "seresnext26d_32x4d",
    "seresnext26t_32x4d",
    "seresnext50_32x4d",
    "ecaresnext26t_32x4d",
    "resnext26ts",
    "seresnext26ts",
    "eca_resnext26ts",
    "gcresnext26ts",
    "gcresnext50ts",
    "bat_resnext26ts",
    "cspresnext50",
    "legacy_seresnext26_32x4d",
    "skresnext50_32x4d",
)


# Kernel size and filters of each convolution of a stem, by how it is called.
STEMS = {
    "7x7": [(7, 64)],
    "d": [(3, 32), (3, 32), (3, 64)],
    "t": [(3, 24), (3, 32), (3, 64)],
    "201d": [(3, 64), (3, 64), (3, 128)],
    "29": [(3, 64)],
    "23s": [(3, 32)],
}
# Output channels of each stage, where they don't start from 256 and double.
OUTPUTS = {"23s": (64, 192, 384)}


def squeeze_excite(channels):
    """Parameters of the two dense layers, 16 times narrower between them."""
    narrow = -(-channels // 128) * 8
    return 2 * channels * narrow + narrow + channels


def efficient_channel_attention(channels):
    """Parameters of a convolution over channels."""
    size = int((math.log2(channels) + 1) / 2)
    return max(size + (size % 2 == 0), 3)


def global_context(channels):
    """Parameters of a map and a bottleneck 8 times narrower, normalized."""
    narrow = channels // 8
    return channels + 1 + 2 * channels * narrow + narrow + 2 * narrow + channels


def bilinear(channels):
    """Parameters of two blocks of 8 pixels and the 1x1 around them."""
    narrow = channels // 4
    around = 2 * channels * narrow + 2 * narrow + 2 * channels
    maps = 2 * narrow + 2 * 2 + 2 * (2 * 8 * 128 + 128)
    return around + maps + narrow * narrow + 2 * narrow


def grouped_conv(width, group):
    """Parameters of the 3x3 and its normalization."""
    return 9 * width * group + 2 * width


def selective_kernel(width, group):
    """Parameters of two of them, and of the choice."""
    narrow = -(-width // 512) * 32
    return 2 * grouped_conv(width, group) + 3 * width * narrow + 2 * narrow


ATTENTIONS = {
    None: lambda channels: 0,
    "se": squeeze_excite,
    "eca": efficient_channel_attention,
    "gc": global_context,
    "bat": bilinear,
}


def count(
    depths,
    cardinality,
    group_width,
    classes,
    stem=STEMS["7x7"],
    attention=ATTENTIONS[None],
    inside=False,
    conv=grouped_conv,
    outputs=(256, 512, 1024, 2048),
):
    """Trainable parameters by Table 1 of the paper.

    Args:
        depths: Blocks of each stage.
        cardinality: The paper's C; `None` for a quarter of the output.
        group_width: The paper's d, or the width of all groups.
        classes: Number of classes.
        stem: Kernel size and filters of each convolution before the stages.
        attention: Parameters of attention to so many channels.
        inside: Whether attention stands inside the bottleneck.
        conv: Parameters of what stands between the 1x1 convolutions.
        outputs: Channels that leave each stage.
    """
    total, channels = 0, 3
    for size, filters in stem:
        total += size * size * channels * filters + 2 * filters
        channels = filters
    for stage, depth in enumerate(depths):
        planes = outputs[stage] // 4
        width, group = planes, group_width
        if cardinality is not None:
            group = planes * group_width // 64
            width = group * cardinality
        for _ in range(depth):
            total += channels * width + 2 * width
            total += conv(width, group)
            total += width * 4 * planes + 2 * 4 * planes
            total += attention(width if inside else 4 * planes)
            if channels != 4 * planes:
                total += channels * 4 * planes + 2 * 4 * planes
            channels = 4 * planes
    return total + channels * classes + classes


def count_crossed(depths, groups):
    """Trainable parameters of CSPResNeXt, blocks on half of the channels."""
    total, channels = 49 * 3 * 64 + 2 * 64, 64
    for stage, depth in enumerate(depths):
        out = 256 * 2**stage
        half = out // 2
        if stage:
            total += grouped_conv(channels, channels // groups)
        total += channels * out + 2 * out
        block = 2 * (half * half + 2 * half)
        total += depth * (block + grouped_conv(half, half // groups))
        total += half * half + 2 * half + out * out + 2 * out
        channels = out
    return total + channels * 1000 + 1000


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
    larger = name.endswith("ts") or name.startswith("csp")
    size = 256 if larger else 32 if len(row.depths) == 3 else 224
    assert row.default_size == size
    with pytest.raises(dataclasses.FrozenInstanceError):
        row.depths = (1,)


def parts(name):
    """Split a variant's name: attention, layers, kind and grouping."""
    pattern = (
        r"(?:legacy_)?(?:sk|csp|(se|eca|gc|bat))?_?"
        r"resnext(aa)?(\d+)(d|ts?|s)?(?:_(\d+)x(\d+)d)?"
    )
    attention, averages, layers, kind, *template = re.fullmatch(
        pattern, name
    ).groups()
    return attention, averages, int(layers), kind, template


@pytest.mark.parametrize("name", VARIANTS)
def test_names_say_what_rows_hold(name):
    row = VARIANTS[name]
    attention, averages, layers, kind, template = parts(name)
    position = "bottleneck" if kind == "ts" else "output"
    crosses, selects = name.startswith("csp"), name.startswith("sk")
    if kind == "ts":
        assert row.grouping == FixedGroupWidth(32)
    elif crosses:
        assert row.grouping == FixedCardinality(32, 4)
    else:
        assert row.grouping == FixedCardinality(*map(int, template))
    if not crosses:
        assert layers in (sum(row.depths) * 3 + 2, sum(row.depths) * 3)
    assert row.stage == ("cross_stage" if crosses else "residual")
    assert row.conv == ("selective_kernel" if selects else "grouped_conv")
    assert row.attention == (attention and Attention(attention, position))
    relu = "leaky_relu" if crosses else "relu"
    assert row.activation == ("silu" if kind == "ts" else relu)
    legacy = name.startswith("legacy")
    assert row.dropout == (0.2 if legacy else 0)
    assert (row.stem.pool == "max_ceil") == legacy
    assert row.antialias == bool(averages)
    assert row.shortcut == ("avg" if kind in ("d", "t") else "conv")
    stem = len(STEMS.get(f"{layers}{kind}", ())) or (3 if kind else 1)
    assert len(row.stem.widths) == stem
    outputs = OUTPUTS.get(f"{layers}{kind}", (256, 512, 1024, 2048))
    assert row.out_channels == outputs[: len(row.depths)]
    assert (len(set(row.stem.widths)) == 3) == (kind in ("t", "ts"))


def test_analytic_parameters_of_crossed_stages():
    depths, groups, *_, published = PUBLISHED["cspresnext50"]
    assert count_crossed(depths, groups) == published


@pytest.mark.parametrize("name", sorted({*VARIANTS} - {"cspresnext50"}))
def test_analytic_parameters_are_the_published_ones(name):
    *arguments, published = PUBLISHED[name]
    attention, _, layers, kind, _ = parts(name)
    whole = f"{layers}{kind}"
    named = whole, f"{layers}", kind and kind[0], "7x7"
    stem = next(STEMS[key] for key in named if key in STEMS)
    transform = selective_kernel if "sk" in name else grouped_conv
    found = count(
        *arguments,
        stem,
        ATTENTIONS[attention],
        kind == "ts",
        transform,
        OUTPUTS.get(whole, (256, 512, 1024, 2048)),
    )
    assert found == published


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
    assert sum(math.prod(v.shape) for v in model.trainable_variables) == (
        published
    )
    assert total == WITH_STATISTICS.get(name, total)


@pytest.mark.parametrize(
    ("cardinality", "bottleneck_width", "millions"),
    [(1, 64, 25.557), (2, 40, 25.425), (4, 24, 25.293), (8, 14, 25.603)],
)
def test_templates_of_constant_complexity(
    cardinality, bottleneck_width, millions
):
    expected = count(IMAGENET[0], cardinality, bottleneck_width, 1000)
    assert round(expected / 1e6, 3) == millions
    config = dataclasses.replace(
        VARIANTS["resnext50_32x4d"],
        grouping=FixedCardinality(cardinality, bottleneck_width),
    )
    with keras.StatelessScope(initialize_variables=False):
        model = keras_resnext.ResNeXt(config)
    moving = sum(v.shape[0] for v in model.non_trainable_variables)
    assert model.count_params() - moving == expected
