"""Every kernel against NumPy loops, values and gradients."""

import inspect

import keras
import numpy as np
import pytest
from autodiff import gradients
from keras import ops
from loops import GEOMETRIES
from loops import ROUNDING
from loops import assert_close
from loops import batch_norm_example
from loops import batch_norm_loop
from loops import conv2d_example
from loops import conv2d_loop
from loops import convolve
from loops import from_format
from loops import max_pool2d_loop
from loops import to_format

from keras_resnext.kernels import generic
from keras_resnext.kernels import kernels


@pytest.mark.parametrize(
    ("geometry", "groups"),
    [(geometry, groups) for geometry in GEOMETRIES for groups in (1, 2, 4, 8)],
)
def test_conv2d_equals_the_loop(geometry, groups):
    arrays = conv2d_example(geometry, groups)
    expected = conv2d_loop(*arrays, *GEOMETRIES[geometry][2:], groups)
    assert_close(convolve(geometry, groups, arrays), expected)


# Where all groups fit in one packed one, XLA of jaxlib 0.10 can crash.
@pytest.mark.parametrize("groups", [4, 8])
def test_conv2d_of_32_channels_equals_the_loop(groups):
    arrays = conv2d_example("plain", groups, 32, 32)
    expected = conv2d_loop(*arrays, *GEOMETRIES["plain"][2:], groups)
    assert_close(convolve("plain", groups, arrays), expected)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("geometry", ["strided", "dilated_strided", "uneven"])
def test_conv2d_equals_the_loop_channels_first(geometry, groups):
    arrays = conv2d_example(geometry, groups)
    expected = conv2d_loop(*arrays, *GEOMETRIES[geometry][2:], groups)
    found = convolve(geometry, groups, arrays, "channels_first")
    assert_close(found, expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize(
    "geometry", ["pointwise", "plain", "strided", "dilated"]
)
def test_conv2d_equals_the_loop_in_half_precision(geometry, groups, dtype):
    if dtype == "bfloat16" and _lacks_onednn():
        pytest.skip("TensorFlow's own kernels add up in bfloat16")
    arrays = conv2d_example(geometry, groups)
    expected = conv2d_loop(*arrays, *GEOMETRIES[geometry][2:], groups)
    found = convolve(geometry, groups, arrays, dtype=dtype)
    assert_close(found, expected, dtype)


def _lacks_onednn():
    """Return whether TensorFlow uses no oneDNN on this processor."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    from keras_resnext.kernels import tensorflow

    return not tensorflow._trains(tf.float32, groups=2)


@pytest.mark.parametrize(
    ("groups", "group_width", "merged"),
    [(6, 3, 6), (6, 8, 3), (12, 6, 4), (5, 8, 1), (3, 40, 1), (2, 16, 2)],
)
def test_packed_merges_neighbors_and_equals_the_loop(
    groups, group_width, merged
):
    channels, filters = groups * group_width, groups * 2
    x, kernel, cotangent = conv2d_example("plain", groups, channels, filters)
    _, strides, padding, dilation_rate = GEOMETRIES["plain"][1:]
    widths = []

    def ordinary(x, kernel):
        widths.append(x.shape[-1])
        assert kernel.shape[2] == x.shape[-1]
        return kernels.conv2d(
            x, kernel, strides, padding, dilation_rate, 1, "channels_last"
        )

    def weighted_sum(x, kernel):
        y = generic.packed(ordinary, x, kernel, groups, 3)
        return ops.sum(ops.multiply(y, cotangent)), y

    (_, y), slopes = gradients(weighted_sum, x, kernel)
    assert set(widths) == {merged * group_width}
    expected = conv2d_loop(
        x, kernel, cotangent, strides, padding, dilation_rate, groups
    )
    assert_close([y, *slopes], expected)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    ("geometry", "groups"), [("pointwise", 1), ("strided", 1), ("plain", 4)]
)
def test_bias_is_added(geometry, groups, data_format):
    x, kernel, cotangent = conv2d_example(geometry, groups)
    bias = np.linspace(-2, 2, kernel.shape[3], dtype="float32")
    x, cotangent = (to_format(each, data_format) for each in (x, cotangent))
    rest = (*GEOMETRIES[geometry][2:], groups, data_format)

    def weighted_sum(x, kernel, bias):
        y = kernels.conv2d(x, kernel, *rest, bias)
        return ops.sum(ops.multiply(y, cotangent)), y

    def without(x, kernel):
        y = kernels.conv2d(x, kernel, *rest)
        return ops.sum(ops.multiply(y, cotangent)), y

    (_, found), (dx, dkernel, dbias) = gradients(weighted_sum, x, kernel, bias)
    (_, plain), slopes = gradients(without, x, kernel)
    first = data_format == "channels_first"
    added = bias[:, None, None] if first else bias
    total = cotangent.sum((0, 2, 3) if first else (0, 1, 2))
    assert_close([found, dx, dkernel, dbias], [plain + added, *slopes, total])


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    ("geometry", "groups"),
    [("stem", 1), ("strided", 4), ("dilated", 2), ("dilated_strided", 2)],
)
def test_generic_conv2d_equals_the_tuned_one(
    geometry, groups, data_format, biased
):
    if data_format == "channels_first" and groups == 1 and _lacks_onednn():
        pytest.skip("TensorFlow's own kernels take channels last only")
    x, kernel, _ = conv2d_example(geometry, groups)
    bias = np.linspace(-2, 2, kernel.shape[3], dtype="float32")
    arguments = (
        ops.convert_to_tensor(to_format(x, data_format)),
        ops.convert_to_tensor(kernel),
        *GEOMETRIES[geometry][2:],
        groups,
        data_format,
        ops.convert_to_tensor(bias) if biased else None,
    )
    found, expected = (
        ops.convert_to_numpy(module.conv2d(*arguments))
        for module in (generic, kernels)
    )
    assert_close([found], [expected])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("shape", [(3, 5, 4, 6), (1, 1, 2, 6)])
def test_batch_norm_training_equals_the_loop(shape, data_format, dtype):
    x, gamma, beta, cotangent = batch_norm_example(shape)

    def weighted_sum(x, gamma, beta):
        y, mean, variance = kernels.batch_norm_training(
            ops.cast(x, dtype), gamma, beta, 0.01, False, data_format
        )
        assert keras.backend.standardize_dtype(y.dtype) == dtype
        y = ops.cast(y, "float32")
        weighted = ops.multiply(y, to_format(cotangent, data_format))
        return ops.sum(weighted), y, mean, variance

    (_, y, mean, variance), (dx, dgamma, dbeta) = gradients(
        weighted_sum, to_format(x, data_format), gamma, beta
    )
    y, dx = from_format(y, data_format), from_format(dx, data_format)
    expected = batch_norm_loop(x, gamma, beta, cotangent, 0.01)
    rounding = {"float32": 5e-6}.get(dtype, 2 * ROUNDING[dtype])
    for a, b in zip(
        [y, mean, variance, dx, dgamma, dbeta], expected, strict=True
    ):
        assert a.dtype == b.dtype
        scale = max(1.0, np.abs(b).max())
        np.testing.assert_allclose(a, b, atol=rounding * scale, rtol=0)


@pytest.mark.parametrize("relu", [False, True])
def test_batch_norm_of_a_single_value_is_finite(relu):
    x, gamma, beta, cotangent = batch_norm_example((1, 1, 1, 6))

    def weighted_sum(x, gamma, beta):
        y, mean, variance = kernels.batch_norm_training(
            x, gamma, beta, 0.01, relu, "channels_last"
        )
        return ops.sum(ops.multiply(y, cotangent)), y, mean, variance

    (_, y, mean, variance), slopes = gradients(weighted_sum, x, gamma, beta)
    passes = np.logical_or(not relu, beta > 0)
    expected = beta * passes, cotangent[0, 0, 0] * passes
    assert_close((y[0, 0, 0], slopes[2], mean), (*expected, x[0, 0, 0]))
    np.testing.assert_array_equal(variance, 0.0)
    for slope in slopes[:2]:
        np.testing.assert_array_equal(slope, 0.0)


@pytest.mark.parametrize("module", [kernels, generic], ids=["tuned", "generic"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("relu", [False, True])
def test_batch_norm_inference(module, relu, data_format, dtype):
    x, gamma, beta, _ = batch_norm_example((2, 3, 5, 6))
    mean, variance = beta + 1.0, np.abs(gamma) + 0.5
    y = module.batch_norm_inference(
        ops.cast(to_format(x, data_format), dtype),
        *map(ops.convert_to_tensor, (gamma, beta, mean, variance)),
        0.01,
        relu,
        data_format,
    )
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    y = from_format(ops.convert_to_numpy(ops.cast(y, "float32")), data_format)
    expected = (x - mean) / np.sqrt(variance + 0.01) * gamma + beta
    expected = np.maximum(expected, 0) if relu else expected
    assert_close([y], [expected], dtype)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", [(3, 5, 4, 6), (1, 1, 1, 6)])
def test_generic_batch_norm_training_equals_the_tuned_one(shape, relu):
    x, gamma, beta, _ = batch_norm_example(shape)
    arguments = (
        *map(ops.convert_to_tensor, (x, gamma, beta)),
        0.01,
        relu,
        "channels_last",
    )
    found, expected = (
        map(ops.convert_to_numpy, module.batch_norm_training(*arguments))
        for module in (generic, kernels)
    )
    assert_close(found, expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    ("pool_size", "strides", "padding", "out"),
    [
        ((3, 3), (2, 2), (1, 1), (4, 5)),
        ((5, 3), (2, 1), (2, 0), (4, 7)),
        ((3, 2), (2, 1), (0, 0), (3, 8)),
    ],
)
def test_max_pool2d_equals_the_loop(
    pool_size, strides, padding, out, data_format, dtype
):
    random = np.random.default_rng(3)
    # Negative numbers only: zeros in the padding would show.
    x = -1.0 - random.permutation(8 * 9 * 3).reshape(1, 8, 9, 3) % 251
    x = x.astype("float32")
    cotangent = random.choice([-1.0, 0.5, 2.0], size=(1, *out, 3))
    geometric = pool_size, strides, padding

    def weighted_sum(x):
        y = kernels.max_pool2d(ops.cast(x, dtype), *geometric, data_format)
        assert keras.backend.standardize_dtype(y.dtype) == dtype
        y = ops.cast(y, "float32")
        weights = to_format(cotangent.astype("float32"), data_format)
        return ops.sum(ops.multiply(y, weights)), y

    (_, y), (dx,) = gradients(weighted_sum, to_format(x, data_format))
    found = [from_format(y, data_format), from_format(dx, data_format)]
    assert_close(found, max_pool2d_loop(x, cotangent, *geometric), dtype)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_generic_max_pool2d_equals_the_tuned_one(data_format):
    x = to_format(batch_norm_example((2, 8, 9, 6))[0], data_format)
    arguments = ops.convert_to_tensor(x), (3, 3), (2, 2), (1, 1), data_format
    found, expected = (
        ops.convert_to_numpy(module.max_pool2d(*arguments))
        for module in (generic, kernels)
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("module", [kernels, generic], ids=["tuned", "generic"])
def test_relu(module):
    x, _, _, _ = batch_norm_example((2, 3, 5, 6))
    expected = np.maximum(x, 0)
    y = module.relu(ops.convert_to_tensor(x.copy()) + 0.0)
    np.testing.assert_allclose(ops.convert_to_numpy(y), expected, 0, 1e-36)
    y = module.relu_of_sum(ops.convert_to_tensor(x.copy()) + 0.0)
    np.testing.assert_array_equal(ops.convert_to_numpy(y), expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_nan_stays_in_its_window(dtype):
    x = np.ones((2, 9, 9, 8), "float32")
    x[1, 4, 5, 3] = np.nan
    tensor = ops.cast(ops.convert_to_tensor(x), dtype)
    for nonnegative in (False, True):
        y = kernels.max_pool2d(
            tensor, (3, 3), (2, 2), (1, 1), "channels_last", nonnegative
        )
        found = np.isnan(ops.convert_to_numpy(ops.cast(y, "float32")))
        assert found[1, 2, 2:4, 3].all()
        assert found.sum() == 2
    for function in (kernels.relu, kernels.relu_of_sum):
        y = ops.convert_to_numpy(ops.cast(function(tensor + 0), "float32"))
        np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize("module", [kernels, generic], ids=["tuned", "generic"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("axis", [1, 2, 3])
def test_largest(module, axis, dtype):
    x = np.random.default_rng(axis).permutation(120).reshape(2, 4, 3, 5)

    def summed(x):
        y = module.largest(ops.cast(x, dtype), axis)
        return ops.sum(ops.cast(y, "float32")), y

    (_, y), (slope,) = gradients(summed, x.astype("float32") - 60)
    expected = x.max(axis, keepdims=True)
    np.testing.assert_array_equal(y.astype("float32"), expected - 60)
    np.testing.assert_array_equal(slope, x == expected)


def test_a_backend_only_replaces_generic_functions():
    module = kernels.conv2d.__globals__
    own = {
        name
        for name, value in module.items()
        if inspect.isfunction(value)
        and value.__module__ == module["__name__"]
        and not name.startswith("_")
    }
    assert "conv2d" in own
    for name in own:
        found, expected = (
            inspect.signature(getattr(module, name)).parameters
            for module in (kernels, generic)
        )
        assert found == expected, name
