"""The graph: inputs, names, heads, precision, saving, a step of training."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

import keras_resnext
from keras_resnext import ResNeXt


def pixels(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def run(model, x):
    return ops.convert_to_numpy(model(x))


@pytest.fixture(scope="module")
def model(tiny):
    """Not to be changed: the whole module shares it."""
    keras.utils.set_random_seed(0)
    return ResNeXt(tiny, classes=10)


def test_layers_are_named_by_stage_and_block(tiny):
    stem = keras_resnext.Stem(widths=(8, 8), kernel_size=3)
    config = dataclasses.replace(
        tiny, depths=(1, 2), stem=stem, shortcut="avg", default_size=32
    )
    with keras.StatelessScope(initialize_variables=False):
        built = ResNeXt(config, classes=10)
    parts = ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3")
    block = [*parts, "out"]
    shortcut = ["shortcut_conv", "shortcut_bn"]
    expected = {
        *(f"stem_{part}{i}" for part in ("conv", "bn") for i in (1, 2)),
        *("stem_pool", "avg_pool", "predictions"),
        *(f"stage1_block1_{part}" for part in block + shortcut),
        *(f"stage2_block1_{part}" for part in [*block, *shortcut]),
        *(f"stage2_block2_{part}" for part in block),
        "stage2_block1_shortcut_pool",
    }
    names = [layer.name for layer in built.layers]
    assert set(names[1:]) == expected
    assert names[-2:] == ["avg_pool", "predictions"]
    assert len(names) == len(expected) + 1


def test_the_stride_sits_in_the_grouped_convolution(model):
    strides = {
        layer.name: layer.strides[0]
        for layer in model.layers
        if isinstance(layer, keras_resnext.layers.Conv2D)
        and layer.strides[0] > 1
    }
    assert strides == {
        "stem_conv1": 2,
        "stage2_block1_conv2": 2,
        "stage2_block1_shortcut_conv": 2,
    }
    assert model.get_layer("stage2_block1_conv2").groups == 4


def test_no_lambda_layers(model):
    for layer in model.layers:
        assert not isinstance(layer, keras.layers.Lambda)
        kind = type(layer).__name__
        assert hasattr(keras_resnext.layers, kind) or (
            type(layer) is getattr(keras.layers, kind)
        )


def test_initialization_is_the_authors(model):
    # normal(0, sqrt(2 / (k * k * filters))), whatever the groups.
    initializer = model.get_layer("stage2_block1_conv2").kernel_initializer
    kernel = ops.convert_to_numpy(initializer((3, 3, 64, 512)))
    assert kernel.std() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            assert (ops.convert_to_numpy(layer.gamma) == 1).all()
            assert (layer.momentum, layer.epsilon) == (0.9, 1e-5)


def test_zero_init_last(tiny):
    built = ResNeXt(dataclasses.replace(tiny, zero_init_last=True), classes=2)
    for layer in built.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma = ops.convert_to_numpy(layer.gamma)
            expected = 0 if layer.name.endswith("bn3") else 1
            assert (gamma == expected).all()


def test_top(tiny, model):
    assert model.input_shape == (None, 32, 32, 3)
    assert model.output_shape == (None, 10)
    y = run(model, pixels(2, 32, 32, 3))
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-5)
    logits = ResNeXt(tiny, classes=10, classifier_activation=None)
    logits.set_weights(model.get_weights())
    found = run(logits, pixels(2, 32, 32, 3))
    assert found.min() < 0
    np.testing.assert_allclose(
        np.exp(found) / np.exp(found).sum(axis=1, keepdims=True), y, rtol=1e-4
    )


def test_without_the_top(tiny, model):
    maps = ResNeXt(tiny, include_top=False)
    assert maps.input_shape == (None, None, None, 3)
    assert maps.output_shape == (None, None, None, 64)
    maps.set_weights(model.get_weights()[:-2])
    x = pixels(2, 24, 40, 3)
    features = run(maps, x)
    assert features.shape == (2, 3, 5, 64)
    for pooling, reduce in (("avg", np.mean), ("max", np.max)):
        pooled = ResNeXt(tiny, include_top=False, pooling=pooling)
        assert pooled.output_shape == (None, 64)
        pooled.set_weights(maps.get_weights())
        expected = reduce(features, axis=(1, 2))
        np.testing.assert_allclose(run(pooled, x), expected, atol=1e-5)


def test_name(tiny, model):
    assert model.name == "resnext"
    with keras.StatelessScope(initialize_variables=False):
        assert ResNeXt(tiny, name="mine").name == "mine"
        row = keras_resnext.VARIANTS["resnext29_8x64d"]
        assert ResNeXt(row).name == "resnext29_8x64d"


def test_input_tensor_with_layers_before(tiny, model):
    images = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(0.5, offset=0.1)(images)
    built = ResNeXt(tiny, input_tensor=x, classes=10)
    assert built.inputs == [images]
    built.set_weights(model.get_weights())
    x = pixels(2, 32, 32, 3)
    expected = run(model, x * 0.5 + 0.1)
    found = built.predict(x, verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_models_of_an_input_tensor_take_arrays(tiny):
    built = ResNeXt(tiny, input_tensor=keras.Input((32, 32, 3)))
    assert built(pixels(1, 32, 32, 3)).shape == (1, 1000)


def test_input_tensor_may_repeat_its_shape(tiny):
    images = keras.Input((32, 48, 3))
    with keras.StatelessScope(initialize_variables=False):
        built = ResNeXt(tiny, input_tensor=images, input_shape=(32, 48, 3))
        assert built.inputs == [images]
        with pytest.raises(ValueError, match="Leave `input_shape` out"):
            ResNeXt(tiny, input_tensor=images, input_shape=(32, 32, 3))


@pytest.mark.parametrize("convert", [np.asarray, ops.convert_to_tensor])
def test_input_tensor_must_be_symbolic(tiny, convert):
    with pytest.raises(ValueError, match="KerasTensor"):
        ResNeXt(tiny, input_tensor=convert(pixels(1, 32, 32, 3)))


@pytest.mark.parametrize(
    "shape", [(None, None, 3), (64, 96, 3), (None, 40, 1), (32, 32, 4)]
)
def test_input_shape(tiny, shape):
    with keras.StatelessScope(initialize_variables=False):
        built = ResNeXt(tiny, input_shape=shape)
    assert built.input_shape == (None, *shape)
    assert built.output_shape == (None, 1000)
    assert built.get_layer("stem_conv1").kernel.shape == (3, 3, shape[2], 8)


def test_any_size_gives_one_answer(tiny, model):
    built = ResNeXt(tiny, input_shape=(None, None, 3), classes=10)
    built.set_weights(model.get_weights())
    x = pixels(2, 32, 32, 3)
    np.testing.assert_allclose(run(built, x), run(model, x), atol=1e-6)
    assert run(built, pixels(1, 33, 47, 3)).shape == (1, 10)


def test_channels_first(tiny, model):
    keras.config.set_image_data_format("channels_first")
    built = ResNeXt(tiny, classes=10)
    assert built.input_shape == (None, 3, 32, 32)
    built.set_weights(model.get_weights())
    x = pixels(2, 32, 32, 3)
    found = run(built, x.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(found, run(model, x), atol=1e-6)
    maps = ResNeXt(tiny, include_top=False, input_shape=(4, None, 40))
    assert maps.output_shape == (None, 64, None, 5)
    with pytest.raises(ValueError, match=r"such as \(3, 32, 32\)"):
        ResNeXt(tiny, input_shape=(32, 32, 3))


@pytest.mark.parametrize("shape", [(32, 32), (1, 32, 32, 3), (32, 32, None)])
def test_input_shape_is_three_numbers(tiny, shape):
    with pytest.raises(ValueError, match=r"channels_last.*\(32, 32, 3\)"):
        ResNeXt(tiny, input_shape=shape)


@pytest.mark.parametrize("shape", [(4, 32, 3), (32, 7, 3), (None, 7, 3)])
def test_images_have_a_smallest_size(tiny, shape):
    with pytest.raises(ValueError, match="at least 8x8"):
        ResNeXt(tiny, input_shape=shape)
    with pytest.raises(ValueError, match="at least 8x8"):
        ResNeXt(tiny, input_tensor=keras.Input(shape))


@pytest.mark.parametrize("name", ["resnext50_32x4d", "resnext29_8x64d"])
def test_the_smallest_size_is_one_pixel_at_the_end(name):
    config = keras_resnext.VARIANTS[name]
    size = {"resnext50_32x4d": 32, "resnext29_8x64d": 4}[name]
    with keras.StatelessScope(initialize_variables=False):
        built = ResNeXt(config, include_top=False, input_shape=(size, size, 3))
    assert built.output_shape[1:3] == (1, 1)


@pytest.mark.parametrize("pooling", ["sum", "AVG", True])
def test_poolings_are_known(tiny, pooling):
    with pytest.raises(ValueError, match="None, 'avg' or 'max'"):
        ResNeXt(tiny, include_top=False, pooling=pooling)


def test_saved_models_open_in_safe_mode(model, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    x = pixels(2, 32, 32, 3)
    np.testing.assert_array_equal(run(loaded, x), run(model, x))


def test_a_step_of_training_in_mixed_precision(tiny):
    keras.config.set_dtype_policy("mixed_bfloat16")
    config = dataclasses.replace(tiny, output_stride=4, shortcut="avg")
    built = ResNeXt(config, classes=10)
    stem = built.get_layer("stage1_block1_conv2")
    assert stem.compute_dtype == "bfloat16"
    assert built.get_layer("predictions").compute_dtype == "float32"
    assert {variable.dtype for variable in built.weights} == {"float32"}
    before = built.get_weights()
    built.compile("sgd", "sparse_categorical_crossentropy")
    x, y = pixels(8, 32, 32, 3), np.arange(8)
    history = built.fit(x, y, batch_size=8, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    for variable, old in zip(built.weights, before, strict=True):
        new = ops.convert_to_numpy(variable)
        assert np.isfinite(new).all(), variable.path
        assert (new != old).any(), variable.path
    assert run(built, x).dtype == np.float32


def test_every_switch_trains_and_is_saved(tiny, tmp_path):
    config = dataclasses.replace(
        tiny,
        stem=keras_resnext.Stem((8,), 3, pool="max_ceil"),
        stage="cross_stage",
        conv="selective_kernel",
        stochastic_depth=0.5,
        dropout=0.5,
    )
    built = ResNeXt(config, classes=10)
    built.compile("sgd", "sparse_categorical_crossentropy")
    x, labels = pixels(4, 32, 32, 3), np.arange(4)
    before = run(built, x)
    built.fit(x, labels, epochs=2, verbose=0)
    after = run(built, x)
    assert np.isfinite(after).all()
    assert np.abs(after - before).max() > 1e-6
    built.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(run(loaded, x), after, rtol=1e-5, atol=1e-6)


def test_leaky_relu_is_pytorchs(tiny):
    config = dataclasses.replace(tiny, activation="leaky_relu")
    built = ResNeXt(config, classes=10)
    for name in ("stem_bn1", "stage2_block1_out"):
        slope = built.get_layer(name).activation.negative_slope
        assert slope == pytest.approx(0.01)


def test_jit_is_chosen_for_the_backend(model):
    copy = keras.models.clone_model(model)
    copy.compile("sgd", "mse", jit_compile="auto")
    # XLA's grouped convolution on a CPU is what the kernels avoid.
    assert copy.jit_compile is (keras.config.backend() == "jax")
