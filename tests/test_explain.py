"""Grad-CAM, its images, and the contribution of each path of a block."""

import dataclasses

import keras
import numpy as np
import PIL.Image
import pytest
import ways
from keras import ops

import keras_resnext
from keras_resnext import explain

CLASSES = 7


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype("f4")


def build(config, **options):
    return keras_resnext.ResNeXt(config, classes=CLASSES, **options)


@pytest.fixture(scope="module")
def model(tiny):
    """Not to be changed: the whole module shares it."""
    keras.utils.set_random_seed(0)  # by some, an image has no evidence at all
    return build(tiny)


def numpy(x):
    return np.asarray(ops.convert_to_numpy(x))


def logits_behind(model, maps):
    """Return the scores of feature maps that are the model's last."""
    kernel, bias = model.layers[-1].get_weights()
    return maps.mean((1, 2)) @ kernel + bias


@pytest.mark.parametrize("layer", [None, "stage2", "stage2_block1"])
def test_grad_cam_of_the_last_maps_is_by_the_classifiers_weights(
    model, images, layer
):
    maps = numpy(keras_resnext.block_outputs(model)(images)["stage2_block1"])
    best = logits_behind(model, maps).argmax(-1)
    kernel, _ = model.layers[-1].get_weights()
    heat = np.maximum(np.einsum("bhwc,cb->bhw", maps, kernel[:, best]), 0)
    expected = heat / heat.max((1, 2), keepdims=True)
    found = explain.grad_cam(model, images, layer)
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_grad_cam_of_earlier_maps_is_by_their_gradient(model, images):
    cut = model.get_layer("stage1_block1_out").output
    behind = keras.Model(cut, model.layers[-1].input)
    maps = numpy(keras_resnext.block_outputs(model)(images)["stage1_block1"])
    kernel, _ = model.layers[-1].get_weights()

    def score(maps):
        return numpy(behind(maps)).astype("float64") @ kernel[:, 2]

    # A mean over the map is the slope along a constant, channel by channel.
    step, size = 1e-2, maps[0, :, :, 0].size
    counts = np.zeros((len(maps), maps.shape[-1]))
    for channel in range(maps.shape[-1]):
        moved = np.zeros_like(maps)
        moved[..., channel] = step
        rise = score(maps + moved) - score(maps - moved)
        counts[:, channel] = rise / (2 * step * size)
    heat = np.maximum(np.einsum("bhwc,bc->bhw", maps, counts), 0)
    expected = heat / heat.max((1, 2), keepdims=True)
    found = explain.grad_cam(model, images, "stage1", classes=2)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.98


def test_grad_cam_takes_a_class_for_each_image(model, images):
    each = explain.grad_cam(model, images, classes=[1, 5, 1])
    for i, classes in enumerate([1, 5, 1]):
        alone = explain.grad_cam(model, images[i : i + 1], classes=classes)
        np.testing.assert_allclose(each[i], alone[0], atol=1e-5)


def test_grad_cam_of_many_images_is_that_of_each(model, images, monkeypatch):
    whole = explain.grad_cam(model, images, classes=[1, 5, 2])
    monkeypatch.setattr(explain, "_BATCH", 2)
    found = explain.grad_cam(model, images, classes=[1, 5, 2])
    np.testing.assert_allclose(found, whole, atol=1e-5)


def test_grad_cam_where_nothing_speaks_for_the_class_is_zero(tiny, images):
    model = build(tiny)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([-np.abs(kernel), bias])
    assert not explain.grad_cam(model, images).any()


def test_grad_cam_does_not_change_the_network(model, images, tmp_path):
    before = numpy(model(images))
    explain.grad_cam(model, images, "stage1")
    explain.group_ablation(model, images, "stage1_block1")
    np.testing.assert_array_equal(numpy(model(images)), before)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(numpy(again(images)), before, atol=1e-6)


def test_channels_first_is_the_same(tiny, images):
    if keras.config.backend() == "tensorflow":
        pytest.skip("TensorFlow on a CPU has no such gradients")
    model = build(tiny)
    expected = explain.grad_cam(model, images, "stage1")
    paths = explain.group_ablation(model, images, "stage1_block1")
    keras.config.set_image_data_format("channels_first")
    other = build(tiny)
    other.set_weights(model.get_weights())
    turned = images.transpose(0, 3, 1, 2)
    found = explain.grad_cam(other, turned, "stage1")
    np.testing.assert_allclose(found, expected, atol=1e-4)
    found = explain.group_ablation(other, turned, "stage1_block1")
    np.testing.assert_allclose(found, paths, atol=1e-5)


SE = keras_resnext.Attention("se")


@pytest.mark.parametrize(
    ("changes", "folded"),
    [
        ({}, True),
        ({"antialias": True, "shortcut": "avg", "attention": SE}, False),
        ({"conv": "selective_kernel"}, True),
        ({"stage": "cross_stage"}, False),
    ],
)
def test_paths_are_what_is_gone_without_them(tiny, images, changes, folded):
    config = dataclasses.replace(tiny, **changes)
    model = build(config, classifier_activation=None)
    if folded:
        model = keras_resnext.optimize_for_inference(model)
    found = explain.group_ablation(model, images, "stage2_block1", classes=3)
    assert found.shape == (3, 4)
    before = numpy(model(images))[:, 3]
    for group in each_path_cut(model.get_layer("stage2_block1_conv3")):
        without = numpy(model(images))[:, 3]
        np.testing.assert_allclose(found[:, group], before - without, atol=1e-5)
    assert np.abs(found).max() > 1e-4


def each_path_cut(conv):
    """Yield each of four paths, its weights zero in the next convolution."""
    kernel, *rest = conv.get_weights()
    width = kernel.shape[2] // 4
    for group in range(4):
        without = kernel.copy()
        without[:, :, group * width : (group + 1) * width] = 0
        conv.set_weights([without, *rest])
        yield group


def expected_heat(way, head, model, inputs, chosen):
    """Equations 1 and 2, the head's slope by its values left and right."""
    maps = ways.numpy(
        ways.own_maps(model, "stage2_block1_out")(ways.pixels_of(way, inputs))
    )

    def score(pooled):
        features = pooled.astype("float64")
        if way == "two_inputs":
            features = np.concatenate([features, inputs["age"]], -1)
        return ways.logits_of(head, features)

    pooled = maps.mean((1, 2))
    if chosen is None:
        chosen = score(pooled).argmax(-1)
    slopes = np.zeros_like(pooled)
    for channel in range(pooled.shape[-1]):
        step = np.zeros(pooled.shape[-1])
        step[channel] = 1e-4
        rise = (score(pooled + step) - score(pooled - step)) / 2e-4
        slopes[:, channel] = rise[np.arange(len(rise)), chosen]
    heat = np.maximum(np.einsum("bhwc,bc->bhw", maps, slopes), 0)
    return heat / np.maximum(heat.max((1, 2), keepdims=True), 1e-9)


@pytest.mark.parametrize(("way", "head"), ways.CASES)
def test_any_model_that_contains_ours(tiny, way, head):
    model, layers = ways.build_with_head(way, head, tiny)
    inputs = ways.inputs_of(model)
    if way == "two_outputs":
        with pytest.raises(ValueError, match="must have one output"):
            explain.grad_cam(model, inputs)
        model = keras.Model(model.input, model.output["label"])
    # Integers are not differentiated: Keras' gradient is that of floats.
    rough = way == "mixed_precision" or head == "int8"
    for chosen in (None, 3):
        if chosen is None and rough:
            continue  # two scores may be alike
        expected = expected_heat(way, layers, model, inputs, chosen)
        found = explain.grad_cam(model, inputs, classes=chosen)
        np.testing.assert_allclose(
            found, expected, atol=0.05 if rough else 1e-4
        )
    earlier = explain.grad_cam(model, inputs, "stage1_block1_conv2")
    assert earlier.shape == (3, 4, 4)
    assert 0 <= earlier.min() <= earlier.max() <= 1

    found = explain.group_ablation(model, inputs, "stage2_block1", classes=3)
    whole = scores_of(model, layers, inputs)[:, 3]
    (conv,) = [
        layer
        for layer in model._flatten_layers()
        if layer.name == "stage2_block1_conv3"
    ]
    for group in each_path_cut(conv):
        rest = scores_of(model, layers, inputs)[:, 3]
        scale = np.abs(whole).max()
        np.testing.assert_allclose(
            found[:, group],
            whole - rest,
            atol=(0.03 if rough else 1e-4) * scale,
        )


def scores_of(model, head, inputs):
    """Return the scores before the softmax, by the model itself."""
    (last,) = [
        layer
        for layer in head[-2:]
        if isinstance(layer, keras.layers.Dense) and layer.units == 5
    ]
    activation, last.activation = last.activation, keras.activations.linear
    try:
        outer = (
            model
            if isinstance(head[-1], keras.layers.Dense)
            else keras.Model(model.input, last.output)
        )
        return ways.predict(outer, inputs)
    finally:
        last.activation = activation


REFUSED = {
    "subclassed": "'outer' is a subclassed model.*Use 'resnext'",
    "siamese": r"'outer' calls layers named 'stem_conv1' 2 times",
    "over_time": "'outer' calls 'resnext' within the layer 'time_distributed'",
}


@pytest.mark.parametrize("way", REFUSED)
def test_what_has_no_maps_of_one_image_is_refused(tiny, way):
    model = ways.build(way, "plain", tiny)
    inputs = ways.inputs_of(model)
    with pytest.raises(ValueError, match=REFUSED[way]):
        explain.grad_cam(model, inputs)
    with pytest.raises(ValueError, match=REFUSED[way]):
        explain.group_ablation(model, inputs, "stage1_block1")


def test_other_models_are_refused(tiny, images):
    bare = keras_resnext.ResNeXt(tiny, include_top=False)
    pooled = keras_resnext.ResNeXt(tiny, include_top=False, pooling="avg")
    for model in (bare, pooled):
        for function, name in (
            (explain.grad_cam, "stage1"),
            (explain.group_ablation, "stage1_block1"),
        ):
            with pytest.raises(ValueError, match="has no classifier"):
                function(model, images, name)


def test_inputs_are_named_as_the_model_names_them(tiny):
    model = ways.build("two_inputs", "plain", tiny)
    inputs = ways.inputs_of(model)
    for wrong in (inputs["image"], {"image": inputs["image"]}):
        with pytest.raises(ValueError, match="a dictionary of age, image"):
            explain.grad_cam(model, wrong)
    short = {**inputs, "age": inputs["age"][:2]}
    with pytest.raises(ValueError, match=r"batch, 2.*batch, 16.*\(2, 2\)"):
        explain.grad_cam(model, short)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"layer": "stage9"}, "no stage or layer 'stage9'"),
        ({"layer": 5}, "`layer` must be a string or None"),
        ({"layer": "avg_pool"}, "does not return feature maps"),
        ({"classes": 7}, r"in \[0, 7\)"),
        ({"classes": -1}, r"in \[0, 7\)"),
        ({"classes": [1, 2]}, "one for each of the 3 images"),
        ({"classes": 1.5}, "whole number"),
    ],
)
def test_wrong_arguments_are_refused(model, images, options, match):
    with pytest.raises((TypeError, ValueError), match=match):
        explain.grad_cam(model, images, **options)


def test_a_single_image_is_refused(model, images):
    with pytest.raises(ValueError, match="must be a batch"):
        explain.grad_cam(model, images[0])


def test_an_unknown_block_is_refused(model, images):
    with pytest.raises(ValueError, match=r"Did you mean 'stage2_block1'\?"):
        explain.group_ablation(model, images, "stage2_block2")


def test_overlay_is_hot_where_the_map_is():
    image = PIL.Image.new("RGB", (64, 48), "white")
    heatmap = np.zeros((6, 8), "float32")
    heatmap[0, 0] = 1
    pixels = np.asarray(explain.overlay(image, heatmap)).astype(int)
    assert pixels.shape == (48, 64, 3)
    assert pixels[0, 0, 0] > pixels[0, 0, 2]
    assert pixels[-1, -1, 2] > pixels[-1, -1, 0]
    array = np.full((48, 64, 3), 255, "uint8")
    bare = np.asarray(explain.overlay(array, heatmap, alpha=0))
    np.testing.assert_array_equal(bare, array)


@pytest.mark.parametrize(
    ("heatmap", "match"),
    [
        (np.zeros((1, 7, 7)), "of shape"),
        (np.full((7, 7), 1.5), r"in \[0, 1\]"),
        (np.full((7, 7), np.nan), r"in \[0, 1\]"),
    ],
)
def test_overlay_refuses_what_is_no_heat_map(heatmap, match):
    with pytest.raises(ValueError, match=match):
        explain.overlay(np.zeros((9, 9), "uint8"), heatmap)
