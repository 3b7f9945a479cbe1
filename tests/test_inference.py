"""Models without batch normalization: the same function, less to compute."""

import dataclasses

import keras
import numpy as np
import pytest
import ways
from keras import ops

import keras_resnext
from keras_resnext import VARIANTS
from keras_resnext import optimize_for_inference


def pixels(size, batch=2):
    random = np.random.default_rng(size)
    return random.normal(size=(batch, size, size, 3)).astype("float32")


def batch_norms(model):
    return [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]


def trained(model):
    """Batch normalization as after training, some scales negative."""
    random = np.random.default_rng(0)
    for layer in batch_norms(model):
        shape = layer.moving_mean.shape
        signs = np.where(random.random(shape) < 0.3, -1, 1)
        layer.gamma.assign(signs * random.uniform(0.5, 1.5, shape))
        layer.beta.assign(random.normal(0, 0.1, shape))
        layer.moving_mean.assign(random.normal(0, 0.1, shape))
        layer.moving_variance.assign(random.uniform(0.5, 1.5, shape))
    return model


def predict(model, images):
    # Eagerly where that is quicker: JAX compiles each operation then.
    if keras.config.backend() == "jax":
        return model.predict_on_batch(images)
    outputs = model(images, training=False)
    return keras.tree.map_structure(ops.convert_to_numpy, outputs)


def assert_close(found, expected, share=1e-4):
    """Equal up to a share of the largest logit."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, atol=share * scale, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant(name):
    config = VARIANTS[name]
    size = 256 if config.attention and config.attention.kind == "bat" else 64
    model = trained(
        keras_resnext.ResNeXt(
            dataclasses.replace(config, stochastic_depth=0.1, dropout=0.1),
            input_shape=(size, size, 3),
            classes=10,
            classifier_activation=None,
        )
    )
    folded = optimize_for_inference(model)
    assert_close(predict(folded, pixels(size)), predict(model, pixels(size)))
    assert batch_norms(folded) == []
    assert batch_norms(model) != []


def build(tiny):
    se = dataclasses.replace(tiny, attention=keras_resnext.Attention("se"))
    return trained(
        keras_resnext.ResNeXt(se, input_shape=(16, 16, 3), classes=5)
    )


@pytest.fixture(scope="module")
def model(tiny):
    """Not to be changed: the whole module shares it."""
    return build(tiny)


def test_channels_first(tiny):
    keras.config.set_image_data_format("channels_first")
    model = trained(keras_resnext.ResNeXt(tiny, input_shape=(3, 16, 16)))
    images = pixels(16).transpose(0, 3, 1, 2)
    folded = optimize_for_inference(model)
    assert_close(predict(folded, images), predict(model, images))
    assert batch_norms(folded) == []


def test_the_model_stays_as_it_is(tiny):
    model, images = build(tiny), pixels(16)
    before, expected = model.get_weights(), predict(model, images)
    names = [layer.name for layer in model.layers]
    model.compile("sgd", "sparse_categorical_crossentropy")
    folded = optimize_for_inference(model)
    assert not folded.compiled
    for weights in folded.weights:
        weights.assign(np.full(weights.shape, -1.0))
    shared = {id(v) for v in folded.weights} & {id(v) for v in model.weights}
    assert len(shared) == 4 * 2 + 2  # attention and the classifier
    after = model.get_weights()
    for variable, old, new in zip(model.weights, before, after, strict=True):
        assert (id(variable) in shared) != (old == new).all()
    model.set_weights(before)
    np.testing.assert_array_equal(predict(model, images), expected)
    assert [layer.name for layer in model.layers] == names


def test_inputs_outputs_and_names(model):
    folded = optimize_for_inference(model)
    assert folded.name == model.name
    assert folded.input_shape == model.input_shape
    names = {layer.name for layer in model.layers if "_bn" not in layer.name}
    assert {layer.name for layer in folded.layers} == names
    maps = keras_resnext.block_outputs(folded)
    expected = predict(keras_resnext.block_outputs(model), pixels(16))
    for name, found in predict(maps, pixels(16)).items():
        assert_close(found, expected[name])


def test_twice_is_once(model):
    once = optimize_for_inference(model)
    twice = optimize_for_inference(once)
    names = [layer.name for layer in once.layers]
    assert [layer.name for layer in twice.layers] == names
    np.testing.assert_array_equal(
        predict(twice, pixels(16)), predict(once, pixels(16))
    )


def test_saved_and_loaded(tiny, tmp_path):
    for attention in ("bat", None):
        config = dataclasses.replace(
            tiny,
            conv="grouped_conv" if attention else "selective_kernel",
            attention=attention and keras_resnext.Attention("bat"),
            activation="leaky_relu",
        )
        size = 64 if attention else 16
        model = trained(
            keras_resnext.ResNeXt(config, input_shape=(size, size, 3))
        )
        folded = optimize_for_inference(model)
        folded.save(tmp_path / "folded.keras")
        loaded = keras.saving.load_model(tmp_path / "folded.keras")
        found = predict(loaded, pixels(size))
        np.testing.assert_array_equal(found, predict(folded, pixels(size)))
        assert_close(found, predict(model, pixels(size)))


def test_frozen_layers(tiny):
    model = build(tiny)
    keras_resnext.finetuning.freeze(model, "stage1")
    folded = optimize_for_inference(model)
    assert_close(predict(folded, pixels(16)), predict(model, pixels(16)))
    assert batch_norms(folded) == []


def test_record_of_the_weights(tiny):
    model = build(tiny)
    model.weights_info = keras_resnext.list_weights()[0]
    assert optimize_for_inference(model).weights_info is model.weights_info


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(model, dtype):
    folded = optimize_for_inference(model, dtype)
    dtypes = {layer.name: layer.compute_dtype for layer in folded.layers}
    head = ("avg_pool", "predictions")
    for name, computed in dtypes.items():
        full = name in head or name.startswith("input_")
        assert computed == ("float32" if full else dtype), name
    for layer in folded.layers:
        assert {v.dtype for v in layer.weights} <= {layer.compute_dtype}
    assert_close(predict(folded, pixels(16)), predict(model, pixels(16)), 0.03)


def test_half_precision_puts_out_what_it_did(tiny):
    model = trained(
        keras_resnext.ResNeXt(tiny, include_top=False, input_shape=(16, 16, 3))
    )
    pyramid = keras_resnext.feature_pyramid(model)
    folded = optimize_for_inference(pyramid, "bfloat16")
    expected = predict(pyramid, pixels(16))
    found = predict(folded, pixels(16))
    assert found.keys() == expected.keys()
    for level, maps in found.items():
        assert_close(maps, expected[level], 0.03)


def test_mixed_precision(model, tiny):
    keras.config.set_dtype_policy("mixed_bfloat16")
    mixed = keras_resnext.ResNeXt(
        dataclasses.replace(tiny, attention=keras_resnext.Attention("se")),
        input_shape=(16, 16, 3),
        classes=5,
    )
    mixed.set_weights(model.get_weights())
    folded = optimize_for_inference(mixed)
    assert {v.dtype for v in folded.weights} == {"float32"}
    assert_close(predict(folded, pixels(16)), predict(model, pixels(16)), 0.03)
    full = optimize_for_inference(mixed, "float32")
    assert_close(predict(full, pixels(16)), predict(model, pixels(16)))


def test_float32_rounds_nothing_in_a_model_of_mixed_precision(model, tiny):
    """Neither the nested model's output nor the whole model's is rounded."""
    keras.config.set_dtype_policy("mixed_float16")
    mixed = keras_resnext.ResNeXt(
        dataclasses.replace(tiny, attention=keras_resnext.Attention("se")),
        include_top=False,
        input_shape=(16, 16, 3),
    )
    mixed.set_weights(model.get_weights()[:-2])
    inputs = keras.Input((16, 16, 3))
    whole = keras.Model(inputs, mixed(inputs))
    assert whole.output.dtype == "float16"
    full = optimize_for_inference(whole, "float32")
    assert full.output.dtype == "float32"
    maps = keras.Model(model.input, model.get_layer("stage2_block1_out").output)
    assert_close(predict(full, pixels(16)), predict(maps, pixels(16)))


@pytest.mark.parametrize("kind", [keras.Sequential, keras.Model])
def test_a_model_that_holds_ours(model, kind):
    scale = keras.layers.Rescaling(1 / 255)
    head = keras.layers.Dense(2, name="head")
    if kind is keras.Sequential:
        whole = keras.Sequential([keras.Input((16, 16, 3)), scale, model, head])
    else:
        inputs = keras.Input((16, 16, 3))
        whole = keras.Model(inputs, head(model(scale(inputs))))
    images = np.abs(pixels(16)) * 255
    folded = optimize_for_inference(whole)
    assert batch_norms(folded) == []
    assert_close(predict(folded, images), predict(whole, images))
    half = optimize_for_inference(whole, "bfloat16")
    assert half.layers[1].compute_dtype == "float32"
    assert_close(predict(half, images), predict(whole, images), 0.03)


def test_what_someone_else_reads_is_kept(model):
    """A convolution whose output is used as it is keeps its normalization."""
    conv = model.get_layer("stage1_block1_conv2")
    both = keras.Model(model.input, [model.output, conv.output])
    folded = optimize_for_inference(both)
    assert [layer.name for layer in batch_norms(folded)] == [
        "stage1_block1_bn2"
    ]
    outputs = [predict(each, pixels(16)) for each in (folded, both)]
    for found, expected in zip(*outputs, strict=True):
        assert_close(found, expected)


def test_keras_own_layers(model):
    """Layers of someone else's head, too."""
    x = model.get_layer("stage2_block1_out").output
    x = keras.layers.Conv2D(6, 2, bias_initializer="ones")(x)
    x = keras.layers.BatchNormalization(scale=False)(x)
    x = keras.layers.Conv2D(6, 1, activation="relu")(x)
    x = keras.layers.BatchNormalization(name="not_linear")(x)
    other = keras.Model(model.input, x)
    random = np.random.default_rng(0)
    for layer in batch_norms(other)[-2:]:
        layer.moving_mean.assign(random.normal(size=6))
        layer.moving_variance.assign(random.uniform(0.5, 1.5, 6))
    folded = optimize_for_inference(other)
    assert_close(predict(folded, pixels(16)), predict(other, pixels(16)))
    assert [layer.name for layer in batch_norms(folded)] == ["not_linear"]


@pytest.mark.parametrize(("way", "head"), [*ways.CASES, ("siamese", "lora")])
def test_any_model_that_contains_ours(tiny, way, head):
    config = dataclasses.replace(tiny, stochastic_depth=0.1)
    model = ways.build(way, head, config)
    inputs = keras.tree.map_structure(lambda x: x / 100, ways.inputs_of(model))
    expected = ways.predict(model, inputs)
    rough = way == "mixed_precision" or head == "int8"  # which rounds
    for dtype in (None, "bfloat16"):
        folded = optimize_for_inference(model, dtype)
        found = ways.predict(folded, inputs)
        share = 1e-4 if dtype is None and not rough else 0.05
        keras.tree.map_structure(
            lambda a, b: assert_close(a, b, share),  # noqa: B023
            found,
            expected,
        )
        kinds = {type(layer).__name__ for layer in folded._flatten_layers()}
        idle = ("Dropout", "RandomFlip", "RandomContrast", "StochasticDepth")
        assert not kinds.intersection(("BatchNormalization", *idle))
        lora = [
            layer.name
            for layer in folded._flatten_layers()
            if getattr(layer, "lora_enabled", False)
        ]
        assert lora == []
    keras.tree.map_structure(
        np.testing.assert_array_equal, ways.predict(model, inputs), expected
    )


L = keras.layers


def idle():
    """Return each kind of Keras' layers that is the identity in inference."""
    return [
        L.ActivityRegularization(0.1),
        L.AlphaDropout(0.3),
        L.AugMix(),
        L.CutMix(),
        L.GaussianDropout(0.3),
        L.GaussianNoise(0.3),
        L.MixUp(),
        L.RandAugment(),
        L.RandomBrightness(0.2),
        L.RandomColorDegeneration(0.2),
        L.RandomColorJitter(),
        L.RandomContrast(0.2),
        L.RandomElasticTransform(),
        L.RandomErasing(),
        L.RandomFlip(),
        L.RandomGaussianBlur(),
        L.RandomGrayscale(),
        L.RandomHue(0.2),
        L.RandomInvert(),
        L.RandomPerspective(),
        L.RandomPosterization(4),
        L.RandomRotation(0.2),
        L.RandomSaturation(0.2),
        L.RandomSharpness(0.2),
        L.RandomShear(0.2),
        L.RandomTranslation(0.2, 0.2),
        L.RandomZoom(0.2),
        L.SpatialDropout2D(0.3),
        L.Pipeline([L.RandomFlip(), L.RandomRotation(0.1)]),
    ]


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_what_only_training_does_is_left_out(model, dtype):
    x = inputs = keras.Input((16, 16, 3), dtype=dtype)
    # Not all take integers on TensorFlow; behind the first there are floats.
    layers = [L.RandomFlip(), *idle()]
    for layer in layers:
        x = layer(x)
    whole = keras.Model(inputs, model(x))
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3))
    images = images.astype(dtype)
    expected = ways.predict(model, images.astype("float32"))
    assert_close(ways.predict(whole, images), expected)
    folded = optimize_for_inference(whole)
    assert_close(ways.predict(folded, images), expected)
    kinds = {type(layer) for layer in folded._flatten_layers()}
    assert not kinds.intersection(map(type, layers))


class Always(keras.layers.Dropout):
    """Monte Carlo dropout, which is not idle."""

    def call(self, inputs, training=None):
        return 2 * inputs


class Standardized(keras.layers.Conv2D):
    """A convolution whose kernel is not what it convolves with."""

    def call(self, inputs):
        return 3 * super().call(inputs)


def test_what_does_something_in_inference_is_kept(model):
    """Crops and resizes, and layers of others that build on idle ones."""
    inputs = keras.Input((20, 20, 3))
    x = keras.layers.RandomCrop(18, 18)(inputs)
    x = keras.layers.Pipeline(
        [keras.layers.RandomFlip(), keras.layers.Resizing(16, 16)]
    )(x)
    x = keras.layers.Lambda(lambda x: x + 1)(x)
    x = Always(0.5)(x)
    x = Standardized(3, 1)(x)
    x = keras.layers.BatchNormalization()(x)
    normalize = keras.layers.Normalization()
    normalize.adapt(pixels(16, 4) * 3 + 2)
    whole = keras.Model(inputs, model(normalize(x)))
    for dtype in (None, "float32", "bfloat16"):
        folded = optimize_for_inference(whole, dtype)
        assert_close(
            ways.predict(folded, pixels(20)),
            ways.predict(whole, pixels(20)),
            0.05 if dtype == "bfloat16" else 1e-4,
        )


def test_normalization_keeps_what_it_was_adapted_to(model):
    keras.config.set_dtype_policy("mixed_bfloat16")
    normalize = keras.layers.Normalization()
    normalize.adapt(pixels(16, 4) * 30 + 200)
    inputs = keras.Input((16, 16, 3))
    whole = keras.Model(inputs, model(normalize(inputs)))
    images = pixels(16) * 30 + 200
    folded = optimize_for_inference(whole, "float32")
    expected = ways.predict(whole, images)
    assert_close(ways.predict(folded, images), expected, 0.05)


@pytest.mark.parametrize(
    ("layer", "name", "value"),
    [
        ("stem_conv1", "kernel", np.nan),
        ("stage1_block1_bn2", "gamma", np.inf),
        ("stage2_block1_bn3", "moving_mean", -np.inf),
        ("stage2_block1_bn3", "moving_variance", -1.0),
        ("stage1_block1_attention", "reduce_kernel", np.nan),
        ("predictions", "bias", np.nan),
    ],
)
def test_weights_that_are_not_finite_are_refused(tiny, layer, name, value):
    model, inputs = build(tiny), keras.Input((16, 16, 3))
    outer = keras.Model(inputs, model(inputs))
    variable = getattr(model.get_layer(layer), name)
    values = ops.convert_to_numpy(variable).copy()
    values.flat[-1] = value
    variable.assign(values)
    what = "below zero" if value == -1 else "NaN or infinity"
    for whole in (model, outer):
        with pytest.raises(ValueError, match=f"{name} of '{layer}' .*{what}"):
            optimize_for_inference(whole)


def test_weights_too_large_for_a_dtype_are_refused(tiny):
    model = build(tiny)
    model.get_layer("stage1_block1_bn2").beta.assign(np.full(8, 1e5))
    assert optimize_for_inference(model, "bfloat16")
    message = "'stage1_block1_conv2' contains NaN.*`dtype` of a larger range"
    with pytest.raises(ValueError, match=message):
        optimize_for_inference(model, "float16")


def others():
    inputs = keras.Input((4,))
    unbuilt = keras.Sequential([keras.layers.Dense(2)], name="unbuilt")
    return {
        "Expected a keras.Model. Received: list": [],
        "Expected a keras.Model. Received: Dense": keras.layers.Dense(2),
        "'unbuilt' is not built": unbuilt,
        "'other' must be a model built by keras_resnext": keras.Model(
            inputs, keras.layers.Dense(2)(inputs), name="other"
        ),
    }


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("subclassed", "'outer' is a subclassed model"),
        ("over_time", "'outer' calls 'resnext' within the layer 'time_dist"),
    ],
)
def test_what_keras_does_not_know_is_refused(tiny, way, message):
    with pytest.raises(ValueError, match=message):
        optimize_for_inference(ways.build(way, "plain", tiny))


@pytest.mark.parametrize("message", others())
def test_other_models_are_refused(message):
    with pytest.raises(ValueError, match=message):
        optimize_for_inference(others()[message])


@pytest.mark.parametrize("dtype", ["int8", "mixed_bfloat16", 16, "float64"])
def test_other_dtypes_are_refused(model, dtype):
    with pytest.raises(ValueError, match="must be None or one of") as error:
        optimize_for_inference(model, dtype)
    assert repr(dtype) in str(error.value)
