"""Models know their images and classes however they are built and moved."""

import copy
import os
import pickle
import subprocess
import sys
import weakref

import keras
import numpy as np
import pytest
from run_script import ROOT

import keras_resnext
from keras_resnext import get_data_config
from keras_resnext.kernels import kernels
from keras_resnext.resnext_model import ResNeXtModel

SIZE = 32
LABELS = ("cat", "dog", "emu")
# What the bundled checkpoint was trained on, and what a model takes that
# normalizes pixels itself.
CIFAR = keras_resnext.list_weights("resnext23s_4x32d")[0]
NORMALIZED = (CIFAR.mean, CIFAR.std)
PIXELS = ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))
FRACTIONS = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


TINY = keras_resnext.ResNeXtConfig(
    depths=(1,),
    grouping=keras_resnext.FixedCardinality(4, 16),
    out_channels=(32,),
    stem=keras_resnext.Stem(widths=(8,), kernel_size=3),
    default_size=SIZE,
)


def built(**kwargs):
    """Tiny model with the data config of a checkpoint for CIFAR-10."""
    model = keras_resnext.ResNeXt(
        TINY, input_shape=(SIZE, SIZE, 3), classes=10, **kwargs
    )
    model.weights_info = CIFAR
    return model


def backbone():
    return built(include_top=False, pooling="avg")


def head(x):
    return keras.layers.Dense(3, activation="softmax", dtype="float32")(x)


def replaced():
    return keras_resnext.finetuning.reset_classifier(built(), 3, labels=LABELS)


def flat():
    base = backbone()
    return keras.Model(base.input, head(base.output))


def flat_with_labels():
    base = backbone()
    x = keras_resnext.layers.Classifier(3, LABELS)(base.output)
    return keras.Model(base.input, keras.layers.Softmax()(x))


def nested(*before):
    inputs = x = keras.Input((SIZE, SIZE, 3))
    for layer in before:
        x = layer(x)
    return keras.Model(inputs, head(backbone()(x, training=False)))


def adapted():
    layer = keras.layers.Normalization()
    layer.adapt(np.random.default_rng(0).uniform(0, 255, (8, SIZE, SIZE, 3)))
    return nested(layer)


def two_inputs():
    images, number = keras.Input((SIZE, SIZE, 3)), keras.Input((2,))
    x = keras.layers.Concatenate()([backbone()(images), number])
    return keras.Model([images, number], head(x))


def two_outputs():
    base = backbone()
    return keras.Model(base.input, [head(base.output), base.output])


def in_lists():
    base = backbone()
    x = keras_resnext.layers.Classifier(3, LABELS)(base.output)
    return keras.Model([base.input], [keras.layers.Softmax()(x)])


@keras.saving.register_keras_serializable(package="user")
class Subclassed(keras.Model):
    """A model written as a class, with ours as an attribute."""

    def __init__(self, classes, **kwargs):
        super().__init__(**kwargs)
        self.classes = classes
        self.backbone = backbone()
        self.head = keras.layers.Dense(classes)

    def call(self, inputs, training=None):
        return self.head(self.backbone(inputs, training=training))

    def get_config(self):
        return {**super().get_config(), "classes": self.classes}


def subclassed():
    model = Subclassed(3)
    model(np.zeros((1, SIZE, SIZE, 3), "float32"))
    return model


def siamese(*before):
    base, pair = backbone(), [keras.Input((SIZE, SIZE, 3)) for _ in range(2)]
    x = []
    for image in pair:
        for layer in before:
            image = layer(image)
        x.append(base(image))
    return keras.Model(pair, head(keras.layers.Subtract()(x)))


def pyramid():
    return keras_resnext.feature_pyramid(built(include_top=False))


def mixed():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        return flat()
    finally:
        keras.config.set_dtype_policy("float32")


def sequential():
    layers = [keras.Input((SIZE, SIZE, 3)), backbone(), keras.layers.Dense(3)]
    return keras.Sequential(layers)


# Each way to build, what its images are, and the names of its classes.
MODELS = {
    "whole": (
        lambda: keras_resnext.ResNeXt23s_4x32d(weights="cifar10", classes=10),
        NORMALIZED,
        keras_resnext.labels.CIFAR10,
    ),
    "replaced": (replaced, NORMALIZED, LABELS),
    "flat": (flat, NORMALIZED, None),
    "flat with labels": (flat_with_labels, NORMALIZED, LABELS),
    "nested": (nested, NORMALIZED, None),
    "sequential": (sequential, NORMALIZED, None),
    "augmentation": (
        lambda: nested(keras.layers.RandomFlip(), keras.layers.RandomZoom(0.1)),
        NORMALIZED,
        None,
    ),
    "rescaling": (
        lambda: nested(keras.layers.Rescaling(1 / 127.5, -1)),
        PIXELS,
        None,
    ),
    "normalization": (adapted, PIXELS, None),
    "preprocess_input": (
        lambda: nested(keras_resnext.preprocess_input),
        PIXELS,
        None,
    ),
    "fractions": (
        lambda: nested(
            keras.layers.Normalization(mean=CIFAR.mean, variance=CIFAR.std)
        ),
        FRACTIONS,
        None,
    ),
    "two inputs": (two_inputs, NORMALIZED, None),
    "two outputs": (two_outputs, NORMALIZED, None),
    "lists": (in_lists, NORMALIZED, LABELS),
    "pyramid": (pyramid, NORMALIZED, None),
    "mixed precision": (mixed, NORMALIZED, None),
}


def moved_through_file(model, folder):
    model.save(folder / "model.keras")
    return keras.saving.load_model(folder / "model.keras")


def moved_through_h5(model, folder):
    model.save_weights(folder / "model.weights.h5")
    copied = cloned(model)
    copied.load_weights(folder / "model.weights.h5")
    return copied


def cloned(model):
    copied = keras.models.clone_model(model)
    copied.set_weights(model.get_weights())
    return copied


MOVES = {
    "none": lambda model, _: model,
    "saved": moved_through_file,
    "weights": moved_through_h5,
    "pickled": lambda model, _: pickle.loads(pickle.dumps(model)),
    "copied": lambda model, _: copy.deepcopy(model),
    "cloned": lambda model, _: cloned(model),
}


def outputs(model):
    random = np.random.default_rng(0)
    # A subclassed model does not know its inputs.
    inputs = getattr(model, "input", keras.Input((SIZE, SIZE, 3)))
    x = keras.tree.map_structure(
        lambda each: random.uniform(0, 1, (2, *each.shape[1:])), inputs
    )
    x = keras.tree.map_structure(lambda each: each.astype("float32"), x)
    found = model(x, training=False)
    return [
        keras.ops.convert_to_numpy(keras.ops.cast(y, "float32"))
        for y in keras.tree.flatten(found)
    ]


@pytest.mark.parametrize(
    ("name", "moves"),
    [
        *((name, ("none", "saved", "cloned")) for name in MODELS),
        *(pytest.param(name, MOVES, marks=pytest.mark.slow) for name in MODELS),
    ],
)
def test_a_model_knows_its_images_wherever_it_goes(name, moves, tmp_path):
    build, (mean, std), labels = MODELS[name]
    model = build()
    expected = outputs(model)
    for move in moves:
        if (name, move) == ("normalization", "cloned"):
            continue  # Keras' clone has the layer's statistics, unused
        moved = MOVES[move](model, tmp_path)
        config = get_data_config(moved)
        assert config.mean == pytest.approx(mean), move
        assert config.std == pytest.approx(std), move
        assert config.labels == labels, move
        assert (config.weights, config.size) == (CIFAR.name, SIZE), move
        for one, other in zip(outputs(moved), expected, strict=True):
            np.testing.assert_array_equal(one, other)
    transform = keras_resnext.evaluation_transform(moved)
    assert (transform.crop_size, transform.mean) == (SIZE, config.mean)


def test_a_subclassed_model_is_the_same_wherever_it_goes(tmp_path):
    model = subclassed()
    expected = outputs(model)
    for move in ("saved", "pickled", "copied"):
        (found,) = outputs(MOVES[move](model, tmp_path))
        np.testing.assert_array_equal(found, expected[0])
    copied = keras.models.clone_model(model)
    copied(np.zeros((1, SIZE, SIZE, 3), "float32"))
    copied.set_weights(model.get_weights())
    np.testing.assert_array_equal(outputs(copied)[0], expected[0])


FRESH = ("replaced", "sequential", "normalization", "two inputs", "pyramid")
OPEN = """
import pathlib, pickle, sys
folder = pathlib.Path(sys.argv[1])
models = pickle.loads((folder / "models.pickle").read_bytes())
models |= pickle.loads((folder / "subclassed.pickle").read_bytes())
import keras
for path in folder.glob("*.keras"):
    models[path.name] = keras.saving.load_model(path)
from keras_resnext import get_data_config
from test_resnext_model import outputs
found = {name: outputs(model) for name, model in models.items()}
names = {
    name: get_data_config(model).weights
    for name, model in models.items()
    if "subclassed" not in name
}
(folder / "found.pickle").write_bytes(pickle.dumps((found, names)))
"""


def test_a_process_that_imported_nothing_opens_pickles_and_files(tmp_path):
    models = {name: MODELS[name][0]() for name in FRESH}
    (tmp_path / "models.pickle").write_bytes(pickle.dumps(models))
    models["subclassed"] = subclassed()
    last = {"subclassed": models["subclassed"]}
    (tmp_path / "subclassed.pickle").write_bytes(pickle.dumps(last))
    for name, model in models.items():
        model.save(tmp_path / f"{name}.keras")
    done = subprocess.run(
        [sys.executable, "-c", OPEN, tmp_path],
        env={
            **os.environ,
            "KERAS_BACKEND": keras.config.backend(),
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    found, names = pickle.loads((tmp_path / "found.pickle").read_bytes())
    assert set(names.values()) == {CIFAR.name}
    for name, model in models.items():
        for moved in (name, f"{name}.keras"):
            for one, other in zip(found[moved], outputs(model), strict=True):
                np.testing.assert_allclose(one, other, atol=1e-6)


def test_other_models_pickle_as_ever():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    assert b"keras_resnext" not in pickle.dumps(model)


def test_what_a_model_knows_can_be_changed(tiny):
    model = keras_resnext.ResNeXt(tiny, classes=3)
    assert get_data_config(model) == keras_resnext.DataConfig()
    changed = keras_resnext.set_data_config(
        model, labels=list(LABELS), size=64, crop_pct=0.5
    )
    assert (changed.resize, changed.labels) == (128, LABELS)
    assert get_data_config(model) == changed
    values = {"labels": LABELS[:2], "crop": 1, "size": 0, "std": (0, 1, 1)}
    for wrong, message in {
        "labels": "must name the 3 classes",
        "crop": "no field 'crop'",
        "size": "at least one pixel",
        "std": "above 0",
    }.items():
        with pytest.raises(ValueError, match=message):
            keras_resnext.set_data_config(model, **{wrong: values[wrong]})
    with pytest.raises(ValueError, match="Classifier"):
        keras_resnext.set_data_config(nested(), labels=LABELS)


def test_several_calls_are_known_if_they_agree():
    assert get_data_config(siamese()).mean == CIFAR.mean
    config = get_data_config(siamese(keras.layers.Rescaling(1 / 127.5, -1)))
    assert config.std == pytest.approx(PIXELS[1])
    a, b = keras.Input((SIZE, SIZE, 3)), keras.Input((SIZE, SIZE, 3))
    base = backbone()
    x = keras.layers.Add()([base(a), base(b / 127.5 - 1)])
    with pytest.raises(ValueError, match="scale and an offset"):
        get_data_config(keras.Model([a, b], x))


def test_unknown_graphs_are_refused():
    """The preprocessing inside is unknown."""
    inputs = keras.Input((SIZE, SIZE, 3))
    model = subclassed()
    within = keras.Model(inputs, model(inputs))
    for refused, match in (
        (model, "is a subclassed model"),
        (within, f"within the layer '{model.name}'"),
    ):
        for function in (
            get_data_config,
            lambda model: keras_resnext.set_data_config(model, size=7),
            keras_resnext.evaluation_transform,
            lambda model: keras_resnext.preprocess_input(
                np.zeros((1, SIZE, SIZE, 3)), model=model
            ),
        ):
            with pytest.raises(ValueError, match=match):
                function(refused)
    with pytest.raises(ValueError, match="is a subclassed model"):
        keras_resnext.decode_predictions(np.zeros((1, 3)), model=model)
    assert get_data_config(model.backbone).size == SIZE


def test_what_stands_before_a_model_is_known_or_refused():
    def blurred(x):
        return keras.layers.AveragePooling2D(3, 1, padding="same")(x)

    assert get_data_config(nested(blurred)).mean == CIFAR.mean
    assert get_data_config(nested(lambda x: x * 1.0)).mean == CIFAR.mean
    for unknown in (keras.ops.sin, keras.ops.square, lambda x: x * 1e6):
        with pytest.raises(ValueError, match="scale and an offset"):
            get_data_config(nested(unknown))
    plain = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="no model that keras_resnext built"):
        get_data_config(plain)
    with pytest.raises(ValueError, match="must be a keras"):
        get_data_config(None)


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="others compile models"
)
def test_tensors_are_freed_after_their_last_use(monkeypatch):
    model = keras_resnext.ResNeXt23s_4x32d(weights=None, classes=10)
    pyramid = keras_resnext.feature_pyramid(model)
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    sums, alive = [], []
    plain = kernels.relu_of_sum

    def relu_of_sum(x):
        alive.append(sum(each() is not None for each in sums))
        y = plain(x)
        sums.append(weakref.ref(y))
        return y

    monkeypatch.setattr(kernels, "relu_of_sum", relu_of_sum)
    found = [model.predict_on_batch(x)]
    assert len(alive) == 7
    assert max(alive) == 1  # the shortcut of the block
    found += pyramid.predict_on_batch(x).values()
    monkeypatch.setattr(kernels, "frees_tensors", lambda: False)
    alive.clear()
    expected = [model.predict_on_batch(x)]
    assert max(alive) > 1
    expected += pyramid.predict_on_batch(x).values()
    for value, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(value, other)


def test_graphs_of_any_shape_return_their_outputs():
    one, two = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    dense = keras.layers.Dense(4)
    total = keras.layers.Add()([dense(one), dense(two), one])
    model = ResNeXtModel(
        {"a": one, "b": two}, {"sum": total, "same": two, "first": dense(one)}
    )
    a, b = np.ones((3, 4), "float32"), np.full((3, 4), 2.0, "float32")
    outputs = model.predict_on_batch({"a": a, "b": b})
    first = a @ dense.get_weights()[0]
    np.testing.assert_allclose(outputs["first"], first, rtol=1e-5)
    np.testing.assert_allclose(outputs["sum"], 3 * first + a, rtol=1e-5)
    np.testing.assert_array_equal(outputs["same"], b)
