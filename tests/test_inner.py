"""Graphs of models that contain ours, and what is found in them."""

import keras
import numpy as np
import pytest
import ways

from keras_resnext import inner

LAYERS = 21  # of `tiny`, before what is on top


def names(steps):
    return [step.layer.name for step in steps]


def ours(model):
    return [
        layer.name
        for layer in model.layers
        if layer.name.startswith(("stem_", "stage"))
    ]


def equal(found, expected):
    keras.tree.map_structure(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("way", {**ways.GRAPHS, "siamese": ways.siamese})
def test_a_graph_computes_what_its_model_computes(tiny, way):
    model = ways.build(way, "two_dense", tiny)
    inputs = ways.inputs_of(model)
    graph = inner.Graph(model)
    given = dict(zip(graph.inputs, keras.tree.flatten(inputs), strict=True))
    found = graph.run(given, graph.output, training=False)
    expected = ways.predict(model, inputs)
    equal(keras.tree.map_structure(ways.numpy, found), expected)
    rebuilt = graph.model_of(graph.output, "rebuilt")
    equal(ways.predict(rebuilt, inputs), expected)
    assert {id(v) for v in rebuilt.weights} == {id(v) for v in model.weights}
    if way == "siamese":
        return
    (ours_alone,) = inner.inner_models(model)
    assert (ours_alone is model) == (way in ("flat", "augmented_flat"))
    expected = ours(ours_alone)
    assert len(expected) == LAYERS
    found = [name for name in names(graph.steps) if name in expected]
    assert found == expected
    before = graph.before(graph.find("stem_conv1").inputs)
    assert [type(step.layer).__name__ for step in before] == {
        "doubly_nested": ["Rescaling"],
        "augmented": ["RandomFlip", "RandomContrast", "Rescaling"],
        "augmented_flat": ["RandomFlip", "Rescaling"],
        "normalized": ["Normalization"],
    }.get(way, [])


def test_a_graph_is_cut_anywhere(tiny):
    """Beside the cut stands what passes it by: a shortcut, another input."""
    model = ways.build("two_inputs", "plain", tiny)
    graph = inner.Graph(model)
    inputs = ways.inputs_of(model)
    given = dict(zip(graph.inputs, keras.tree.flatten(inputs), strict=True))
    expected = ways.predict(model, inputs)
    for name in ("stem_bn1", "stage1_block1_conv2", "stage2_block1_out"):
        (cut,) = graph.find(name).outputs
        beside = graph.beside(cut, graph.outputs)
        assert graph.inputs[0] in beside  # the age
        values = [cut, *beside]
        tensors = graph.run(given, values, training=False)
        known = dict(zip(values, tensors, strict=True))
        found = ways.numpy(graph.run(known, graph.output, training=False))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("way", ways.OTHERS)
def test_inner_models_are_found(tiny, way):
    model = ways.build(way, "plain", tiny)
    (found,) = inner.inner_models(model)
    assert len(ours(found)) == LAYERS
    assert found is not model


def test_a_mode_reaches_the_layers_of_a_model_called_in_it(tiny):
    inputs = ways.image()
    whole = keras.Model(inputs, ways.augmentation()(inputs, training=False))
    graph = inner.Graph(whole)
    assert [step.kwargs for step in graph.steps] == 2 * [{"training": False}]


def test_what_has_no_graph_is_refused(tiny):
    class Own(keras.Model):
        def call(self, inputs):
            return 2 * super().call(inputs)

    base = ways.backbone(tiny)
    refused = {
        "Expected a keras.Model. Received: Dense": keras.layers.Dense(2),
        "'unbuilt' is not built": keras.Sequential(
            [keras.layers.Dense(2)], name="unbuilt"
        ),
        f"'outer' is a subclassed model.*Use '{base.name}'": ways.build(
            "subclassed", "plain", tiny
        ),
        "'own' is a subclassed model": Own(base.input, base.output, name="own"),
    }
    for message, model in refused.items():
        with pytest.raises(ValueError, match=message):
            inner.Graph(model)
    siamese = inner.Graph(ways.build("siamese", "plain", tiny))
    with pytest.raises(ValueError, match="'stem_conv1' 2 times"):
        siamese.find("stem_conv1")
