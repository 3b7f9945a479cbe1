"""The forms of a block: one function, one gradient, one step of training."""

import keras
import numpy as np
import pytest
from autodiff import gradients
from keras import ops

from keras_resnext import paper

PATHS, WIDTH = 4, 3
# Output and input channels of a block, and its strides.
SHAPES = ((16, 16, 1), (24, 16, 2))


def blocks(channels, in_channels, strides, two_layers=False):
    """Every form of a block with the same weights, the undivided one last."""
    make = paper.two_layer_block if two_layers else paper.aggregated_block
    forms = ("a", "dense") if two_layers else ("a", "b", "c")
    made = {
        form: make(form, channels, PATHS, WIDTH, strides, in_channels)
        for form in forms
    }
    random = np.random.default_rng(0)
    whole = {}
    for name, value in paper.named_weights(made[forms[-1]]).items():
        drawn = random.normal(size=value.shape)
        if "variance" in name or "gamma" in name:
            drawn = np.abs(drawn) + 0.5
        elif "kernel" in name:
            drawn *= np.sqrt(2 / np.prod(value.shape[:-1]))
        whole[name] = drawn.astype("float32")
    for form, block in made.items():
        weights = paper.convert_weights(whole, form, PATHS)
        paper.set_named_weights(block, weights)
    return made


def images(in_channels):
    random = np.random.default_rng(1)
    shape = (4, 8, 8, in_channels)
    return random.normal(size=shape).astype("float32")


def as_whole(block, weights):
    """Return weights of a block as those of the undivided one."""
    form = "dense" if block.name.startswith("two") else "c"
    return paper.convert_weights(weights, form, PATHS)


def assert_equal(found, expected, what=""):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=1e-5 * scale, err_msg=what
    )


def learned(block, x):
    """Return outputs in training, gradients and moving statistics, by name."""
    names = dict(
        zip(
            [id(w) for layer in block.layers for w in layer.weights],
            paper.named_weights(block),
            strict=True,
        )
    )
    y = block.compute_output_shape(x.shape)
    target = np.random.default_rng(2).normal(size=y).astype("float32")
    target = ops.convert_to_tensor(target)
    frozen = [variable.value for variable in block.non_trainable_variables]

    def loss(*trained):
        outputs, moved = block.stateless_call(trained, frozen, x, training=True)
        return ops.mean(outputs * target), outputs, *moved

    values = [ops.convert_to_numpy(v) for v in block.trainable_variables]
    (_, outputs, *moved), slopes = gradients(loss, *values)
    found = {}
    for variables, arrays in (
        (block.trainable_variables, slopes),
        (block.non_trainable_variables, moved),
    ):
        for variable, array in zip(variables, arrays, strict=True):
            found[names[id(variable)]] = array
    return outputs, as_whole(block, found)


@pytest.mark.parametrize(
    ("shape", "two_layers"), [(SHAPES[0], True), (SHAPES[1], False)]
)
def test_forms_are_one_function_of_as_many_weights(shape, two_layers):
    channels, in_channels, strides = shape
    made = blocks(channels, in_channels, strides, two_layers)
    x = images(in_channels)
    *others, whole = made.values()
    expected = ops.convert_to_numpy(whole(x, training=False))
    assert expected.std() > 0.1
    trained, by_name = learned(whole, x)
    for other in others:
        assert other.count_params() == whole.count_params()
        found = ops.convert_to_numpy(other(x, training=False))
        assert_equal(found, expected, other.name)
        outputs, also_by_name = learned(other, x)
        assert_equal(outputs, trained, other.name)
        assert also_by_name.keys() == by_name.keys()
        for name, value in by_name.items():
            assert_equal(also_by_name[name], value, f"{other.name} {name}")


def test_a_block_has_the_weights_of_equation_4():
    made = blocks(16, 16, 1)
    kernels = PATHS * (16 * WIDTH + 9 * WIDTH * WIDTH + WIDTH * 16)
    norms = 4 * (2 * PATHS * WIDTH + 16)
    assert {b.count_params() for b in made.values()} == {kernels + norms}


@pytest.mark.parametrize("two_layers", [False, True])
def test_a_step_of_training_keeps_them_equal(two_layers):
    made = blocks(16, 16, 1, two_layers)
    x = images(16)
    y = np.random.default_rng(3).normal(size=x.shape).astype("float32")
    after = []
    for block in made.values():
        optimizer = keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)
        block.compile(optimizer, "mse", run_eagerly=True)
        before = paper.named_weights(block)
        block.train_on_batch(x, y)
        weights = paper.named_weights(block)
        assert all((weights[name] != before[name]).any() for name in before)
        after.append(as_whole(block, weights))
    *others, whole = after
    for other in others:
        for name, value in whole.items():
            assert_equal(other[name], value, name)


def test_weights_map_back_exactly():
    made = blocks(16, 16, 1)
    for form in "abc":
        weights = paper.named_weights(made[form])
        for other in "abc":
            there = paper.convert_weights(weights, other, PATHS)
            expected = paper.named_weights(made[other])
            assert there.keys() == expected.keys()
            for name, value in expected.items():
                np.testing.assert_array_equal(there[name], value)


@pytest.mark.once
def test_normalizing_each_path_is_not_the_same():
    # The statistics of a sum are not the sum of statistics: form (a) has one
    # normalization behind the sum.
    names = paper.named_weights(paper.aggregated_block("a", 16, PATHS, WIDTH))
    assert "bn3/gamma" in names
    assert not any("path1_bn3" in name for name in names)


@pytest.mark.once
def test_one_path_needs_no_sum():
    for form in "abc":
        block = paper.aggregated_block(form, 8, 1, 4)
        assert block.output_shape == (None, None, None, 8)


def test_channels_first():
    keras.config.set_image_data_format("channels_first")
    for form in "abc":
        block = paper.aggregated_block(form, 8, PATHS, WIDTH, 2, 6)
        assert block.input_shape == (None, 6, None, None)
        assert block.output_shape[1] == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("d",), "one of a, b, c"),
        (("a", 0), "positive whole"),
        (("a", 16, 2.5), "positive whole"),
        (("a", 16, 4, 4, 1, 0), "positive whole"),
    ],
)
def test_what_is_no_block(arguments, message):
    with pytest.raises(ValueError, match=message):
        paper.aggregated_block(*arguments)


def test_what_is_no_block_of_two_layers():
    with pytest.raises(ValueError, match="one of a, dense"):
        paper.two_layer_block("c")


@pytest.mark.once
def test_weights_of_another_block():
    block = paper.aggregated_block("a", 16, PATHS, WIDTH)
    weights = paper.named_weights(block)
    with pytest.raises(ValueError, match="of 3 paths"):
        paper.convert_weights(weights, "c", 3)
    with pytest.raises(ValueError, match="of 5 paths"):
        paper.convert_weights(weights, "c", 5)
    with pytest.raises(ValueError, match="one of a, b, c"):
        paper.convert_weights(weights, "dense", PATHS)
    whole = paper.convert_weights(weights, "c", PATHS)
    with pytest.raises(ValueError, match="split into 5 paths"):
        paper.convert_weights(whole, "a", 5)
    with pytest.raises(ValueError, match="Missing or unexpected"):
        paper.set_named_weights(block, whole)
