"""Refusals of configurations, and places of layers."""

import dataclasses

import pytest

from keras_resnext import VARIANTS
from keras_resnext import Attention
from keras_resnext import FixedCardinality
from keras_resnext import FixedGroupWidth
from keras_resnext import ResNeXtConfig
from keras_resnext import Stem

pytestmark = pytest.mark.once

ROW = VARIANTS["resnext50_32x4d"]


@pytest.mark.parametrize("numbers", [(0, 4), (32, 0), (-1, 4)])
def test_templates_are_positive(numbers):
    with pytest.raises(ValueError, match="positive whole"):
        FixedCardinality(*numbers)


def test_group_widths_divide_the_bottleneck():
    assert FixedGroupWidth(32).width_and_groups(1024) == (256, 8)
    with pytest.raises(ValueError, match="don't divide 64"):
        FixedGroupWidth(48).width_and_groups(256)
    with pytest.raises(ValueError, match="positive whole"):
        FixedGroupWidth(0)


def test_a_group_needs_a_channel():
    assert FixedCardinality(32, 4).width_and_groups(64) == (32, 32)
    with pytest.raises(ValueError, match="at least 8"):
        FixedCardinality(32, 4).width_and_groups(32)


@pytest.mark.parametrize("depths", [(), (3, 4, 6), (3, 4, 6, 3, 1)])
def test_depths_match_the_stages(depths):
    with pytest.raises(ValueError, match="depths"):
        ResNeXtConfig(depths=depths, grouping=FixedCardinality(32, 4))


@pytest.mark.parametrize(
    ("field", "value", "choices"),
    [
        ("shortcut", "max", "'conv', 'avg'"),
        ("conv", "dense", "'grouped_conv', 'selective_kernel'"),
        ("stage", "dense", "'residual', 'cross_stage'"),
        ("output_stride", 12, "4, 8, 16, 32"),
        ("dropout", 1.0, "below 1"),
        ("stochastic_depth", -0.1, "at least 0"),
        ("depths", (1, 0, 1, 1), "depths"),
    ],
)
def test_fields_are_checked(field, value, choices):
    with pytest.raises(ValueError, match=choices):
        dataclasses.replace(ROW, **{field: value})


def test_stems_are_checked():
    for options in ({"pool": "min"}, {"strides": 0}, {"widths": (64, 0)}):
        with pytest.raises(ValueError, match=next(iter(options))):
            Stem(**options)


def test_zeros_are_pooled_after_relu_only():
    with pytest.raises(ValueError, match="'relu'"):
        dataclasses.replace(ROW, stem=Stem(pool="max_ceil"), activation="silu")


def test_attentions_are_known():
    with pytest.raises(ValueError, match="'se', 'eca'"):
        Attention("self")
    with pytest.raises(ValueError, match="'output', 'bottleneck'"):
        Attention("se", "input")


def test_lists_will_do():
    config = ResNeXtConfig(
        depths=[3, 4, 6, 3],
        grouping=FixedCardinality(32, 4),
        out_channels=[256, 512, 1024, 2048],
        stem=Stem(widths=[64]),
    )
    assert config == ROW
    assert hash(config) == hash(ROW)


# Strides of each stage, and the dilation of its first and of its other blocks.
@pytest.mark.parametrize(
    ("output_stride", "expected"),
    [
        (32, [(1, 1, 1), (2, 1, 1), (2, 1, 1), (2, 1, 1)]),
        (16, [(1, 1, 1), (2, 1, 1), (2, 1, 1), (1, 1, 2)]),
        (8, [(1, 1, 1), (2, 1, 1), (1, 1, 2), (1, 2, 4)]),
        (4, [(1, 1, 1), (1, 1, 2), (1, 2, 4), (1, 4, 8)]),
    ],
)
def test_stages_dilate_once_they_no_longer_stride(output_stride, expected):
    config = dataclasses.replace(ROW, output_stride=output_stride)
    for index, (strides, first, others) in enumerate(expected, start=1):
        blocks = list(config.blocks(index))
        assert [block.strides for block in blocks] == (
            [strides] + [1] * (len(blocks) - 1)
        )
        assert [block.dilation for block in blocks] == (
            [first] + [others] * (len(blocks) - 1)
        )


def test_a_network_that_strides_less_never_dilates():
    config = VARIANTS["resnext29_8x64d"]
    blocks = [block for i in (1, 2, 3) for block in config.blocks(i)]
    assert [b.strides for b in blocks] == [1, 1, 1, 2, 1, 1, 2, 1, 1]
    assert {b.dilation for b in blocks} == {1}


def test_stochastic_depth_grows_from_none():
    config = dataclasses.replace(ROW, stochastic_depth=0.3)
    rates = [b.stochastic_depth for i in (1, 2, 3, 4) for b in config.blocks(i)]
    assert rates == pytest.approx([0.3 * i / 15 for i in range(16)])
    single = ResNeXtConfig(
        (1,), FixedCardinality(32, 4), out_channels=(256,), stochastic_depth=0.3
    )
    assert [b.stochastic_depth for b in single.blocks(1)] == [0.0]


def test_blocks_of_a_crossed_stage_have_half_of_the_channels():
    block, *_ = VARIANTS["cspresnext50"].blocks(2)
    assert block.name == "stage2_block1"
    assert (block.filters, block.width, block.groups) == (256, 256, 32)
    assert block.strides == 1


def test_what_decides_which_weights_fit():
    changed = dataclasses.replace(
        ROW, dropout=0.1, stochastic_depth=0.2, output_stride=8
    )
    assert changed.architecture() == ROW.architecture()
    other = dataclasses.replace(ROW, shortcut="avg")
    assert other.architecture() != ROW.architecture()
    rows = {row.architecture() for row in VARIANTS.values()}
    assert len(rows) == len(VARIANTS)
