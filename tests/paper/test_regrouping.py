"""Models with other groups: the same function, or the closest one."""

import dataclasses

import keras
import numpy as np
import pytest

import keras_resnext
from keras_resnext import VARIANTS
from keras_resnext import FixedCardinality
from keras_resnext import FixedGroupWidth
from keras_resnext import paper

# One of each way to have groups; the last has 2 and 4 of them.
KINDS = (
    "resnext50_32x4d",
    "seresnextaa101d_32x8d",
    "skresnext50_32x4d",
    "cspresnext50",
    "seresnext26ts",
)


def model_of(config, size=32, data_format="channels_last"):
    """Build a model with other weights than initial ones."""
    shape = (size, size, 3) if data_format == "channels_last" else (3, 32, 32)
    model = keras_resnext.ResNeXt(
        config, input_shape=shape, classes=5, classifier_activation=None
    )
    random = np.random.default_rng(0)
    for variable in model.weights:
        if "kernel" not in variable.name:
            values = random.uniform(0.5, 1.5, variable.shape)
            variable.assign(values)
    return model


def groups(model):
    return [
        layer.groups
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.groups > 1
    ]


def predict(model):
    shape = (2, *model.input_shape[1:])
    images = np.random.default_rng(0).normal(size=shape).astype("float32")
    return keras.ops.convert_to_numpy(model(images, training=False))


def assert_equal(found, expected):
    scale = np.abs(expected).max()
    assert np.abs(found - found.mean()).max() > 1e-3 * scale
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("name", KINDS)
def test_merged_groups_compute_the_same(name):
    grouping = (
        FixedGroupWidth(8) if name == KINDS[-1] else FixedCardinality(8, 8)
    )
    small = {"depths": (1, 1), "out_channels": (64, 128), "grouping": grouping}
    model = model_of(dataclasses.replace(VARIANTS[name], **small))
    expected = predict(model)
    before = groups(model)
    merged = paper.merge_groups(model, 2)
    assert set(groups(merged)) == {2}
    assert_equal(predict(merged), expected)
    # What was merged splits without loss.
    if len(set(before)) == 1:
        split = paper.split_groups(merged, before[0])
        assert split.error == 0
        assert groups(split.model) == before
        for value, old in zip(
            split.model.get_weights(), model.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(value, old)
    assert groups(model) == before


def test_one_group_is_a_dense_convolution(tiny):
    model = model_of(tiny)
    merged = paper.merge_groups(model, 1)
    assert groups(merged) == []
    assert merged.count_params() > model.count_params()
    assert_equal(predict(merged), predict(model))


def test_channels_first(tiny):
    keras.config.set_image_data_format("channels_first")
    model = model_of(tiny, data_format="channels_first")
    assert_equal(predict(paper.merge_groups(model, 2)), predict(model))


def test_folded_networks_merge_and_merged_ones_fold(tiny):
    model = model_of(tiny)
    expected = predict(model)
    folded = keras_resnext.optimize_for_inference(model)
    assert_equal(predict(paper.merge_groups(folded, 2)), expected)
    merged = paper.merge_groups(model, 2)
    assert_equal(
        predict(keras_resnext.optimize_for_inference(merged)), expected
    )


def test_of_all_kernels_of_more_groups_a_split_is_the_closest(tiny):
    model = model_of(tiny)
    split = paper.split_groups(model, 8)
    assert groups(split.model) == [8, 8]
    for name, error in split.errors.items():
        before, after = (
            dense(each.get_layer(name)) for each in (model, split.model)
        )
        inside = after != 0
        # Nothing inside could be closer, and nothing outside is allowed.
        np.testing.assert_array_equal(after[inside], before[inside])
        lost = np.linalg.norm(after - before) / np.linalg.norm(before)
        assert error == pytest.approx(lost, rel=1e-5)
        assert 0.5 < error < 0.9  # half of the weights go: about 0.71
    assert split.error == pytest.approx(
        np.sqrt(np.mean(np.square(list(split.errors.values()))))
    )


def dense(conv):
    """Return a convolution's kernel, zero between different groups."""
    kernel = keras.ops.convert_to_numpy(conv.kernel)
    *size, width, filters = kernel.shape
    each = filters // conv.groups
    wide = np.zeros((*size, width * conv.groups, filters), kernel.dtype)
    for group in range(conv.groups):
        out = slice(group * each, (group + 1) * each)
        into = slice(group * width, (group + 1) * width)
        wide[:, :, into, out] = kernel[..., out]
    return wide


def test_both_save_load_and_train(tiny, tmp_path):
    model = model_of(tiny)
    for name, changed in (
        ("merged", paper.merge_groups(model, 2)),
        ("split", paper.split_groups(model, 8).model),
    ):
        changed.save(tmp_path / f"{name}.keras")
        loaded = keras.saving.load_model(tmp_path / f"{name}.keras")
        assert groups(loaded) == groups(changed)
        np.testing.assert_allclose(predict(loaded), predict(changed), atol=1e-6)
        x = np.random.default_rng(1).normal(size=(2, 32, 32, 3))
        changed.compile("sgd", "mse", run_eagerly=True)
        before = changed.get_weights()
        changed.train_on_batch(x.astype("float32"), np.ones((2, 5), "float32"))
        assert any(
            (new != old).any()
            for new, old in zip(changed.get_weights(), before, strict=True)
        )


@pytest.mark.filterwarnings("ignore:The (names|normalization) of:UserWarning")
def test_both_are_exported(tiny, tmp_path):
    kinds = {"tensorflow": "onnx", "jax": "saved_model", "torch": "torch"}
    kind = kinds[keras.backend.backend()]
    merged = paper.merge_groups(model_of(tiny), 2)
    split = paper.split_groups(merged, 8).model
    assert keras_resnext.export(split, tmp_path, [kind]).ok


def test_what_can_not_be_operated_on(tiny):
    model = model_of(tiny)
    with pytest.raises(ValueError, match="must divide the 4 groups"):
        paper.merge_groups(model, 3)
    with pytest.raises(ValueError, match="multiple of the 4 groups"):
        paper.split_groups(model, 6)
    with pytest.raises(ValueError, match="divides its 8 channels"):
        paper.split_groups(model, 64)
    for groups in (0, 2.0, "2"):
        with pytest.raises(ValueError, match="positive whole number"):
            paper.merge_groups(model, groups)
    with pytest.raises(ValueError, match="no grouped convolution"):
        paper.merge_groups(paper.merge_groups(model, 1), 1)
    with pytest.raises(ValueError, match="must be a Functional model"):
        paper.merge_groups("resnext50", 2)
    with pytest.raises(ValueError, match="must be a Functional model"):
        paper.split_groups(keras.Sequential(), 2)
