"""Multiply-adds and receptive fields, against what others publish."""

import functools

import keras
import pytest
import ways

import keras_resnext
from keras_resnext.complexity import block_parameters
from keras_resnext.complexity import layer_costs
from keras_resnext.complexity import multiply_adds
from keras_resnext.complexity import num_parameters
from keras_resnext.complexity import receptive_fields
from keras_resnext.complexity import stage_costs
from keras_resnext.complexity import width_at_constant_complexity

pytestmark = pytest.mark.once


def build(name, **options):
    with keras.StatelessScope(initialize_variables=False):
        return keras_resnext.get_model(name, weights=None, **options)


# Billions, as torchvision's records of its weights have them.
@pytest.mark.parametrize(
    ("name", "billions", "data_format"),
    [
        ("resnext50_32x4d", 4.23, "channels_first"),
        ("resnext101_32x8d", 16.414, "channels_last"),
        ("resnext101_64x4d", 15.46, "channels_last"),
    ],
)
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


def test_costs_by_layer_and_stage_by_hand():
    model = build("resnext50_32x4d")
    costs = {cost.name: cost for cost in layer_costs(model)}
    grouped = costs["stage2_block1_conv2"]
    assert grouped.parameters == 9 * 256 * 8
    assert grouped.multiply_adds == 28 * 28 * 9 * 256 * 8
    assert costs["stage2_block1_bn2"].parameters == 2 * 256
    assert costs["stage2_block1_bn2"].multiply_adds == 0
    stages = stage_costs(model)
    names = ["stem", "stage1", "stage2", "stage3", "stage4", "predictions"]
    assert [cost.name for cost in stages] == names
    # As timm and torchvision count; without moving statistics.
    assert (
        sum(c.parameters for c in stages) == num_parameters(model) == 25028904
    )
    assert sum(c.multiply_adds for c in stages) == multiply_adds(model)
    # Blocks in the middle of a stage have the paper's "~70k" parameters.
    middle = [
        costs[f"stage1_block2_conv{number}"].parameters for number in (1, 2, 3)
    ]
    assert sum(middle) == block_parameters(32, 4) == 70144


@pytest.mark.parametrize("way", ways.FEW)
def test_a_model_that_contains_ours_costs_what_ours_does(
    tiny, way, monkeypatch
):
    base = ways.backbone(tiny)
    if way != "augmented_flat":  # where ours knows less than the whole
        shapeless = functools.partial(
            ways.backbone, input_shape=(None, None, 3)
        )
        monkeypatch.setattr(ways, "backbone", shapeless)
    model = ways.build(way, "two_dense", tiny)
    width = 66 if way == "two_inputs" else 64
    head = width * 8 + 8 * ways.CLASSES
    assert multiply_adds(model) == multiply_adds(base) + head
    biases = 8 + ways.CLASSES
    assert num_parameters(model) == num_parameters(base) + head + biases
    costs = {cost.name: cost for cost in stage_costs(model)}
    for cost in stage_costs(base):
        assert costs[cost.name] == cost
    fields = receptive_fields(model)
    for name, field in receptive_fields(base).items():
        if name != "avg_pool":  # which has another name outside
            assert fields[name] == field


def test_two_calls_cost_twice_and_weigh_once(tiny):
    model = ways.build("siamese", "logits", tiny)
    base = ways.backbone(tiny)
    head = 64 * ways.CLASSES
    assert multiply_adds(model) == 2 * multiply_adds(base) + head
    names = [cost.name for cost in layer_costs(model)]
    assert len(names) == len(set(names))
    parameters = num_parameters(base) + head + ways.CLASSES
    assert sum(c.parameters for c in layer_costs(model)) == parameters


@pytest.mark.parametrize(
    ("way", "match"),
    [
        ("subclassed", "'outer' is a subclassed model"),
        ("over_time", "how often 'time_distributed' calls 'resnext'"),
    ],
)
def test_what_keras_does_not_know_is_not_counted(tiny, way, match):
    model = ways.build(way, "logits", tiny)
    with pytest.raises(ValueError, match=match):
        multiply_adds(model)
    expected = num_parameters(ways.backbone(tiny)) + 65 * ways.CLASSES
    assert num_parameters(model) == expected


def test_statistics_are_not_parameters(tiny):
    inputs = ways.image()
    normalize = keras.layers.Normalization()
    base = ways.backbone(tiny)
    model = keras.Model(inputs, base(normalize(inputs)))
    assert num_parameters(model) == num_parameters(base)


def test_table_2():
    # Of the paper, each cardinality and width; parameters by Equation 4.
    pairs = {1: 64, 2: 40, 4: 24, 8: 14, 32: 4}
    found = {c: width_at_constant_complexity(c) for c in pairs}
    assert found == pairs
    counts = [block_parameters(c, d) for c, d in pairs.items()]
    assert counts == [69632, 69760, 69888, 71456, 70144]


def test_width_elsewhere_is_the_nearest():
    for cardinality in (1, 3, 16, 64):
        for channels, parameters in ((64, 5_000), (512, 280_000)):
            try:
                width = width_at_constant_complexity(
                    cardinality, channels, parameters
                )
            except ValueError:
                assert cardinality > 3
                continue
            off = [
                abs(block_parameters(cardinality, w, channels) - parameters)
                for w in range(1, 200)
            ]
            assert off[width - 1] == min(off)


def test_impossible_complexity():
    with pytest.raises(ValueError, match="256 paths 69,632 parameters"):
        width_at_constant_complexity(256)
    for wrong in (0, -1, 2.0):
        with pytest.raises(ValueError, match="positive whole numbers"):
            width_at_constant_complexity(wrong)
        with pytest.raises(ValueError, match="positive whole numbers"):
            block_parameters(32, wrong)


def test_size_must_be_known(tiny):
    with pytest.raises(ValueError, match="input_shape"):
        multiply_adds(keras_resnext.ResNeXt(tiny, include_top=False))


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
