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
from keras_resnext.weights.table import WEIGHTS

pytestmark = pytest.mark.once

# Of checkpoints, which are compared with timm's models; and of four rows that
# have none, two of timm's and two of the paper.
PUBLISHED = {
    **{row.variant: row.num_params for row in WEIGHTS if row.classes <= 1000},
    "ecaresnext26t_32x4d": 15_406_220,
    "ecaresnext50t_32x4d": 25_045_686,
    "resnext29_8x64d": 34_426_698,
    "resnext29_16x64d": 68_155_210,
}


def classes_of(name):
    return 10 if len(VARIANTS[name].depths) == 3 else 1000


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


def count(row, classes):
    """Trainable parameters by Table 1 of the paper."""
    kind = row.attention and row.attention.kind
    inside = row.attention and row.attention.position == "bottleneck"
    conv = selective_kernel if row.conv == "selective_kernel" else grouped_conv
    total, channels = 0, 3
    for filters in row.stem.widths:
        size = row.stem.kernel_size
        total += size * size * channels * filters + 2 * filters
        channels = filters
    for depth, out in zip(row.depths, row.out_channels, strict=True):
        width, groups = row.grouping.width_and_groups(out)
        for _ in range(depth):
            total += channels * width + 2 * width
            total += conv(width, width // groups)
            total += width * out + 2 * out
            total += ATTENTIONS[kind](width if inside else out)
            if channels != out:
                total += channels * out + 2 * out
            channels = out
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
    assert len(row.stem.widths) == (1 if kind in (None, "s") else 3)
    outputs = (64, 192, 384) if kind == "s" else (256, 512, 1024, 2048)
    assert row.out_channels == outputs[: len(row.depths)]
    assert (len(set(row.stem.widths)) == 3) == (kind in ("t", "ts"))


def test_analytic_parameters_of_crossed_stages():
    row = VARIANTS["cspresnext50"]
    found = count_crossed(row.depths, row.grouping.cardinality)
    assert found == PUBLISHED["cspresnext50"]


@pytest.mark.parametrize("name", sorted({*VARIANTS} - {"cspresnext50"}))
def test_analytic_parameters_are_the_published_ones(name):
    assert count(VARIANTS[name], classes_of(name)) == PUBLISHED[name]


def built(config, classes):
    # Variables are made without values: nobody has memory to waste.
    with keras.StatelessScope(initialize_variables=False):
        model = keras_resnext.ResNeXt(config, classes=classes)
    return sum(math.prod(v.shape) for v in model.trainable_variables)


# Others are built for their checkpoints.
@pytest.mark.parametrize(
    "name", sorted({*VARIANTS} - {row.variant for row in WEIGHTS})
)
def test_built_parameters_are_the_published_ones(name):
    assert built(VARIANTS[name], classes_of(name)) == PUBLISHED[name]


def test_templates_of_constant_complexity():
    for cardinality, bottleneck_width, millions in (
        *((1, 64, 25.557), (2, 40, 25.425)),
        *((4, 24, 25.293), (8, 14, 25.603)),
    ):
        config = dataclasses.replace(
            VARIANTS["resnext50_32x4d"],
            grouping=FixedCardinality(cardinality, bottleneck_width),
        )
        assert round(count(config, 1000) / 1e6, 3) == millions
    assert built(config, 1000) == count(config, 1000)
