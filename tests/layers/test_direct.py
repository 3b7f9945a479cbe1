"""Calls of layers on torch: the same with and without Keras' bookkeeping."""

import contextlib

import keras
import numpy as np
import pytest

import keras_resnext
from keras_resnext.kernels import kernels
from keras_resnext.layers import BatchNormalization
from keras_resnext.layers import Conv2D

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="about torch"
)
if keras.backend.backend() == "torch":
    import torch


@pytest.fixture
def direct(monkeypatch):
    """Return the names of layers that were called directly."""
    found = []
    asked = kernels.needs_no_bookkeeping

    def ask(layer, inputs):
        if asked(layer, inputs):
            found.append(layer.name)
            return True
        return False

    monkeypatch.setattr(kernels, "needs_no_bookkeeping", ask)
    return found


def tensor(shape=(2, 8, 8, 4), dtype="float32"):
    x = np.random.default_rng(0).normal(size=shape)
    return keras.ops.convert_to_tensor(x, dtype)


@contextlib.contextmanager
def bookkeeping():
    """Turn direct calls off."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "needs_no_bookkeeping", lambda *_: False)
        yield


@pytest.mark.parametrize("policy", ["float32", "bfloat16", "mixed_bfloat16"])
@pytest.mark.parametrize("kind", ["tiny", "seresnext26d_32x4d"])
def test_models_compute_the_same(tiny, kind, policy, direct):
    keras.utils.set_random_seed(0)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = (
            keras_resnext.ResNeXt(tiny, classes=10)
            if kind == "tiny"
            else keras_resnext.get_model(kind, weights=None, classes=10)
        )
        x = tensor((2, *model.input_shape[1:]))
        y = np.random.default_rng(1).integers(0, 10, 2)
        found = {}
        for name in ("direct", "whole"):
            whole = name == "whole"
            scope = bookkeeping() if whole else contextlib.nullcontext()
            copy = keras.models.clone_model(model)
            copy.set_weights(model.get_weights())
            copy.compile("sgd", "sparse_categorical_crossentropy")
            with scope:
                outputs = [copy.predict(x, verbose=0)]
                copy.train_on_batch(x, y)
                outputs += copy.get_weights()
            found[name] = outputs
    finally:
        keras.config.set_dtype_policy(before)
    for value, expected in zip(*found.values(), strict=True):
        np.testing.assert_array_equal(value, expected)
    assert bool(direct) == (policy != "mixed_bfloat16")


def test_a_layer_follows_the_mode_of_a_model_around_it(direct):
    class Around(keras.Model):
        def __init__(self):
            super().__init__()
            self.norm = BatchNormalization()

        def call(self, x):
            return self.norm(x)

    model, x = Around(), tensor()
    model(x, training=False)
    model(x, training=True)
    mean = keras.ops.convert_to_numpy(model.norm.moving_mean)
    assert np.abs(mean).max() > 0
    assert not direct  # its mode was not among the arguments


def test_hooks_and_regularizers_run(direct):
    layer, x = Conv2D(4, 3, activity_regularizer="l2"), tensor()
    layer(x)
    layer(x)
    assert len(layer.losses) == 1
    assert not direct
    layer, seen = Conv2D(4, 3), []
    layer(x)
    layer(x)
    assert direct == [layer.name]
    handle = layer.register_forward_hook(lambda *_: seen.append(1))
    layer(x)
    assert seen == [1]
    handle.remove()
    every = torch.nn.modules.module.register_module_forward_hook(
        lambda *_: seen.append(2)
    )
    layer(x)
    every.remove()
    assert seen == [1, 2]
    layer(x)
    assert direct == [layer.name] * 2


def test_a_users_subclass_gets_its_mode(direct):
    class Doubling(Conv2D):
        def __init__(self, *args):
            super().__init__(*args)
            self.drop = keras.layers.Dropout(0.9)

        def call(self, inputs, training=None):
            y = super().call(inputs)
            return self.drop(y) if training else y

    layer, x = Doubling(4, 1), tensor()
    layer(x)
    zeros = [
        np.mean(keras.ops.convert_to_numpy(layer(x, training=mode)) == 0)
        for mode in (False, True)
    ]
    assert zeros[0] == 0
    assert 0.5 < zeros[1] < 1
    assert not direct


def test_masks_and_other_dtypes_take_the_whole_way(direct):
    layer, x = Conv2D(4, 3), tensor()
    layer(x)
    expected = keras.ops.convert_to_numpy(layer(x))
    direct.clear()
    for other in (np.asarray(x), tensor(dtype="float64")):
        y = layer(other)
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(y), expected)
        assert keras.backend.standardize_dtype(y.dtype) == "float32"
    assert not direct
    masked = tensor()
    masked._keras_mask = keras.ops.ones((2, 8, 8))
    with pytest.warns(UserWarning, match="does not support masking"):
        layer(masked)


def test_wrong_shapes_get_the_sentence_of_keras(direct):
    layer = Conv2D(4, 3)
    layer(tensor())
    norm = BatchNormalization()
    norm(tensor())
    for called, shape in (
        (layer, (2, 8, 8, 5)),
        (layer, (8, 8, 4)),
        (norm, (2, 8, 8, 4, 4)),
    ):
        with pytest.raises(ValueError, match="incompatible with the layer"):
            called(tensor(shape), training=False)


def test_a_scope_that_casts_variables_is_kept():
    class Around(keras.layers.Layer):
        def __init__(self, inner, **kwargs):
            super().__init__(**kwargs)
            self.inner = inner

        def call(self, x):
            return self.inner(keras.ops.cast(x, "float32"))

    conv, x = Conv2D(4, 3, dtype="float32"), tensor()
    conv(x)
    y = Around(conv, dtype="mixed_bfloat16")(x)
    assert keras.backend.standardize_dtype(y.dtype) == "float32"
