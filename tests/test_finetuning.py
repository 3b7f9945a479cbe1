"""Freezing, another classifier, recomputed statistics."""

import dataclasses
import warnings

import keras
import numpy as np
import pytest
import ways
from keras import ops

from keras_resnext import ResNeXt
from keras_resnext.finetuning import freeze
from keras_resnext.finetuning import reset_classifier
from keras_resnext.finetuning import update_batch_norm
from keras_resnext.inner import inner_models


def pixels(count, size=16):
    random = np.random.default_rng(count)
    return random.normal(1.0, 2.0, (count, size, size, 3)).astype("float32")


@pytest.fixture
def model(tiny):
    return ResNeXt(tiny, classes=10, input_shape=(16, 16, 3))


def frozen(model):
    """Names of the frozen layers that have weights."""
    return [
        layer.name
        for layer in model.layers
        if layer.weights and not layer.trainable
    ]


def batch_norms(model):
    return [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]


def statistics(layer):
    return [
        ops.convert_to_numpy(layer.moving_mean),
        ops.convert_to_numpy(layer.moving_variance),
    ]


# JAX compiles each operation then, and TensorFlow none.
EAGER = keras.backend.backend() == "tensorflow"
STEM = ["stem_conv1", "stem_bn1"]


@pytest.mark.parametrize("border", ["stem", "stage1", "stage2"])
def test_freeze_up_to_a_stage(model, border):
    freeze(model, border)
    stages = ["stem", "stage1", "stage2"]
    included = stages[: stages.index(border) + 1]
    expected = [
        layer.name
        for layer in model.layers
        if layer.weights and layer.name.split("_")[0] in included
    ]
    assert frozen(model) == expected
    assert len(expected) >= 2


def test_freeze_up_to_a_layer(model):
    freeze(model, "stem_bn1")
    assert frozen(model) == STEM
    freeze(model, "stage1_block1_bn1")
    assert frozen(model) == [
        *STEM,
        "stage1_block1_conv1",
        "stage1_block1_bn1",
    ]


def test_freeze_moves_the_border_back(model):
    freeze(model, "stage2")
    freeze(model, "stem")
    assert frozen(model) == STEM
    freeze(model, None)
    assert frozen(model) == []
    statistics_of_all = 2 * len(batch_norms(model))
    assert len(model.non_trainable_variables) == statistics_of_all


@pytest.mark.parametrize(
    ("border", "suggestion"),
    [("stage3", "stage2"), ("stag1", "stage1"), ("stem_conv", "stem_conv1")],
)
def test_freeze_suggests(model, border, suggestion):
    with pytest.raises(ValueError, match=f"mean '{suggestion}'") as error:
        freeze(model, border)
    assert "Stages: stem, stage1, stage2" in str(error.value)
    assert "stage2_block1_conv3" in str(error.value)


def test_frozen_statistics_stay_and_later_ones_move(model):
    freeze(model, "stage1")
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=EAGER)
    before = {layer.name: layer.get_weights() for layer in model.layers}
    model.fit(pixels(8), np.arange(8), batch_size=8, verbose=0)
    for layer in model.layers:
        early = layer.name.startswith(("stem_", "stage1_"))
        for new, old in zip(
            layer.get_weights(), before[layer.name], strict=True
        ):
            assert (new == old).all() == early, layer.name


def weights_by_layer(model):
    """Return each trained layer's own weights; of nested layers, the parts'."""
    return {
        layer.name: layer.get_weights()
        for layer in model._flatten_layers()
        if layer.weights
        and not layer._layers
        and not isinstance(layer, keras.layers.Normalization)
    }


@pytest.mark.parametrize("way", [*ways.FEW, *ways.OTHERS])
def test_any_model_that_contains_ours_is_frozen_up_to_a_stage(tiny, way):
    """Whatever was frozen before, as the first line of every tutorial does."""
    model = ways.build(way, "plain", tiny)
    everything = len(model.trainable_variables)
    with pytest.raises(ValueError, match="Did you mean 'stage2'"):
        freeze(model, "stage3")
    assert len(model.trainable_variables) == everything
    for container in (model, *inner_models(model)):
        container.trainable = False
        freeze(model, None)
        assert len(model.trainable_variables) == everything
    model.trainable = False
    freeze(model, "stage1")
    model.compile("sgd", "mse", run_eagerly=True)
    inputs = ways.inputs_of(model, 4)
    targets = keras.tree.map_structure(
        lambda x: np.ones(x.shape, "float32"), ways.predict(model, inputs)
    )
    before = weights_by_layer(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the order of a dict
        model.train_on_batch(inputs, targets)
    for name, weights in weights_by_layer(model).items():
        moved = [
            (new != old).any()
            for new, old in zip(weights, before[name], strict=True)
        ]
        if name.startswith(("stem_", "stage1_")):
            assert not any(moved), name
        else:
            assert any(moved), name
            assert all(moved[2:]), name  # the statistics


def test_freeze_trains_adapters_and_not_what_they_adapt(tiny):
    model = ways.build("nested", "lora", tiny)
    freeze(model, "stage1")
    trainable = {variable.path for variable in model.trainable_variables}
    layers = {layer.name: layer for layer in model._flatten_layers()}
    for name in ("adapted", "stage2_block1_conv2"):
        layer = layers[name]
        assert layer.lora_kernel_a.path in trainable
        assert layer._kernel.path not in trainable


def test_freeze_refuses_other_models():
    inputs = keras.Input((4,))
    other = keras.Model(inputs, keras.layers.Dense(2)(inputs), name="other")
    with pytest.raises(ValueError, match="'other' must be a model built by"):
        freeze(other, "stage1")


@pytest.mark.parametrize(("way", "head"), ways.CASES)
def test_the_classifier_of_any_model_is_replaced(tiny, way, head):
    model, layers = ways.build_with_head(way, head, tiny)
    inputs = ways.inputs_of(model)
    if way == "two_outputs":
        with pytest.raises(ValueError, match="must have one output"):
            reset_classifier(model, 3)
        model = keras.Model(model.input, model.output["label"])
    before = ways.numpy_features(way, layers, model, inputs)
    new = reset_classifier(model, 3, dropout=0.5)
    assert new.name == model.name
    assert [layer.name for layer in new.layers[-2:]] == [
        "dropout",
        "predictions",
    ]
    assert type(new.layers[-3]) is not keras.layers.Dropout
    kernel, bias = new.layers[-1].get_weights()
    scores = before @ kernel + bias
    expected = np.exp(scores - scores.max(-1, keepdims=True))
    expected /= expected.sum(-1, keepdims=True)
    rough = way == "mixed_precision"
    np.testing.assert_allclose(
        ways.predict(new, inputs), expected, atol=0.02 if rough else 1e-4
    )


def test_replace_classifier_within_a_model(tiny):
    """Ours, with its top, is the last layer of another model."""
    inner = ResNeXt(tiny, classes=10, input_shape=(16, 16, 3))
    inputs = ways.image()
    outer = keras.Model(inputs, inner(keras.layers.Rescaling(0.1)(inputs)))
    x = pixels(2)
    expected = reset_classifier(inner, 3)
    new = reset_classifier(outer, 3)
    new.layers[-1].set_weights(expected.layers[-1].get_weights())
    np.testing.assert_allclose(
        ways.predict(new, x), ways.predict(expected, x * 0.1), atol=1e-5
    )
    assert len(new.weights) == len(outer.weights)


def endings(features):
    dense = keras.layers.Dense(8)(features)
    return {
        "'softmax_end', neither": keras.layers.Softmax(name="softmax_end")(
            features
        ),
        "'norm_end', neither": keras.layers.BatchNormalization(name="norm_end")(
            dense
        ),
        "'scale_end', neither": keras.layers.Rescaling(2, name="scale_end")(
            dense
        ),
    }


def test_replace_classifier_refuses_what_it_can_not_tell(tiny):
    model = ResNeXt(tiny, include_top=False, pooling="avg")
    for message, output in endings(model.output).items():
        with pytest.raises(ValueError, match=message):
            reset_classifier(keras.Model(model.input, output), 3)


def test_replace_classifier(model):
    new = reset_classifier(model, 3)
    assert new.output_shape == (None, 3)
    assert [layer.name for layer in new.layers] == [
        layer.name for layer in model.layers
    ]
    # Shared, not copied, but for the last.
    pairs = list(zip(new.layers, model.layers, strict=True))
    assert all(a is b for a, b in pairs[:-1])
    assert new.layers[-1] is not model.layers[-1]
    y = new.predict(pixels(2), verbose=0)
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-5)


def test_models_of_another_classifier_take_arrays(model):
    assert reset_classifier(model, 3)(pixels(2)).shape == (2, 3)


def test_replace_classifier_with_dropout_and_again(model):
    new = reset_classifier(model, 3, activation=None, dropout=0.5)
    assert [layer.name for layer in new.layers[-2:]] == [
        "dropout",
        "predictions",
    ]
    assert new.layers[-2].rate == 0.5
    assert new.layers[-1].activation is keras.activations.linear
    again = reset_classifier(new, 5)
    assert [layer.name for layer in again.layers] == [
        layer.name for layer in model.layers
    ]
    assert again.output_shape == (None, 5)


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_replace_classifier_without_the_top(tiny, pooling):
    model = ResNeXt(tiny, include_top=False, pooling=pooling)
    new = reset_classifier(model, 3)
    assert new.output_shape == (None, 3)
    assert new.layers[-2] is model.layers[-1]


def test_replace_classifier_needs_features(tiny):
    with keras.StatelessScope(initialize_variables=False):
        model = ResNeXt(tiny, include_top=False)
    with pytest.raises(ValueError, match="pooling='avg'"):
        reset_classifier(model, 3)


def test_the_new_classifier_is_in_full_precision(tiny):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = ResNeXt(tiny, include_top=False, pooling="avg")
    new = reset_classifier(model, 3)
    assert new.layers[-1].compute_dtype == "float32"


def expected_statistics(model, batches):
    """Average each layer's input statistics over batches of images."""
    layers = batch_norms(model)
    inside = keras.Model(model.input, [layer.input for layer in layers])
    sums, count = [0.0] * len(layers), 0
    for batch in batches:
        seen = inside(ops.convert_to_tensor(batch), training=True)
        for i, x in enumerate(map(ops.convert_to_numpy, seen)):
            mean = x.mean(axis=(0, 1, 2))
            variance = x.var(axis=(0, 1, 2), ddof=1)
            sums[i] = sums[i] + len(batch) * np.array([mean, variance])
        count += len(batch)
    return [total / count for total in sums]


def check_reestimated(model, data, batches, **kwargs):
    before = [ops.convert_to_numpy(v) for v in model.trainable_variables]
    update_batch_norm(model, data, verbose=0, **kwargs)
    found = [statistics(layer) for layer in batch_norms(model)]
    for value, old in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(value), old)
    expected = expected_statistics(model, batches)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_reestimate_weighs_batches_by_their_images(model):
    # Two full batches and one of a single, very different image.
    x = pixels(9)
    x[8] = 5 * x[8] + 3
    check_reestimated(model, x, [x[:4], x[4:8], x[8:]], batch_size=4)


def test_reestimate_takes_generators_and_steps(model):
    x = pixels(8)

    def batches():
        while True:
            yield x[:4], np.zeros(4)
            yield x[4:], np.zeros(4)

    check_reestimated(model, batches(), [x[:4], x[4:]], steps=2)


def test_reestimate_takes_datasets(model):
    tf = pytest.importorskip("tensorflow")
    x = pixels(5)
    data = tf.data.Dataset.from_tensor_slices(x).batch(3)
    check_reestimated(model, data, [x[:3], x[3:]])


def test_reestimate_reaches_layers_within_layers(tiny):
    config = dataclasses.replace(tiny, conv="selective_kernel")
    model = ResNeXt(config, classes=10, input_shape=(16, 16, 3))
    layer = model.get_layer("stage2_block1_select")
    x = pixels(6)
    kernel = ops.convert_to_numpy(layer.compact_kernel)
    paths = keras.Model(model.input, layer.input)(x, training=True)
    seen = sum(ops.convert_to_numpy(path).mean((1, 2)) for path in paths)
    narrow = seen @ kernel
    update_batch_norm(model, x, batch_size=6, verbose=0)
    mean, variance = statistics(layer.compact_norm)
    np.testing.assert_allclose(mean, narrow.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        variance, narrow.var(0, ddof=1), rtol=1e-4, atol=1e-5
    )
    assert layer.compact_norm.momentum == 0.9


def test_reestimate_that_breaks_off_changes_nothing(model):
    x = pixels(8)

    def broken():
        yield x[:4], np.zeros(4)
        raise OSError("the disk is gone")

    before = model.get_weights()
    with pytest.raises(Exception, match="the disk is gone"):
        update_batch_norm(model, broken(), verbose=0)
    for new, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(new, old)
    assert {layer.momentum for layer in batch_norms(model)} == {0.9}


def test_reestimate_leaves_frozen_layers(model):
    freeze(model, "stage1")
    before = {layer.name: statistics(layer) for layer in batch_norms(model)}
    update_batch_norm(model, pixels(4), verbose=0)
    for layer in batch_norms(model):
        same = [
            (new == old).all()
            for new, old in zip(
                statistics(layer), before[layer.name], strict=True
            )
        ]
        early = layer.name.startswith(("stem_", "stage1_"))
        assert same == [early, early], layer.name


def test_reestimate_needs_something_to_change(model):
    freeze(model, "stage2")
    with pytest.raises(ValueError, match=r"freeze\(model, None\)"):
        update_batch_norm(model, pixels(4), verbose=0)
