"""The sum of a block, and the activation after it."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_resnext.layers import AddActivation


@pytest.mark.parametrize(
    "activation", ["relu", "silu", None, keras.layers.LeakyReLU(0.01)]
)
def test_sum_is_activated_and_inputs_are_kept(activation):
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 2, 5, 3, 8)).astype("float32")
    tensors = [ops.convert_to_tensor(a), ops.convert_to_tensor(b)]
    found = AddActivation(activation)(tensors)
    expected = keras.activations.get(activation)(ops.convert_to_tensor(a + b))
    np.testing.assert_allclose(
        ops.convert_to_numpy(found), ops.convert_to_numpy(expected), atol=1e-6
    )
    for tensor, array in zip(tensors, (a, b), strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(tensor), array)


def test_a_single_input_is_kept():
    array = np.array([[-1.0, 2.0]], "float32")
    tensor = ops.convert_to_tensor(array.copy())
    found = ops.convert_to_numpy(AddActivation("relu")([tensor]))
    np.testing.assert_array_equal(found, [[0.0, 2.0]])
    np.testing.assert_array_equal(ops.convert_to_numpy(tensor), array)


def test_config_round_trip():
    layer = AddActivation("relu", name="stage1_block1_out")
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert isinstance(again, AddActivation)
    assert again.activation is keras.activations.relu
    assert again.name == layer.name


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="shape"):
        AddActivation()([keras.Input((4, 4, 8)), keras.Input((4, 4, 6))])
