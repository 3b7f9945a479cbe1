"""The public callables keep the contract of keras.applications."""

import dataclasses
import inspect
import pickle

import keras
import pytest

import keras_resnext
from keras_resnext import VARIANTS
from keras_resnext import models
from keras_resnext import resnext
from keras_resnext.weights import fetch
from keras_resnext.weights.catalog import default_weights
from keras_resnext.weights.table import WEIGHTS

pytestmark = pytest.mark.once


def plain(name):
    return name.replace("_", "").lower()


CALLABLES = {
    name: getattr(keras_resnext, name)
    for name in keras_resnext.__all__
    if plain(name) in map(plain, VARIANTS)
}

every_callable = pytest.mark.parametrize(
    "callable_", CALLABLES.values(), ids=list(CALLABLES)
)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args):
        raise AssertionError("a checkpoint was about to be downloaded")

    monkeypatch.setattr(fetch, "_download", refuse)


def without_values(build, *args, **kwargs):
    with keras.StatelessScope(initialize_variables=False):
        return build(*args, **kwargs)


def test_every_variant_has_a_callable():
    assert sorted(map(plain, CALLABLES)) == sorted(map(plain, VARIANTS))
    assert keras_resnext.ResNeXt50 is keras_resnext.ResNeXt50_32x4d
    assert keras_resnext.ResNeXt101 is keras_resnext.ResNeXt101_32x4d


@every_callable
def test_callables_look_like_functions(callable_):
    name = callable_.__name__
    assert getattr(keras_resnext, name) is callable_
    assert callable_.__qualname__ == name
    assert callable_.__module__ == "keras_resnext"
    assert callable_.__doc__.startswith(f"Build {name}, ")
    for section in ("Args:", "Returns:", "Raises:", "Example:"):
        assert section in callable_.__doc__
    assert pickle.loads(pickle.dumps(callable_)) is callable_


@every_callable
def test_docstrings_list_what_is_particular(callable_):
    [key] = [key for key in VARIANTS if plain(key) == plain(callable_.__name__)]
    lines = callable_.__doc__.splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(callable_.__doc__.split())
    size = VARIANTS[key].default_size
    assert f"- Input size: {size}x{size} pixels" in text
    default = default_weights(key)
    if default is None:
        assert '`weights="imagenet"`: not available.' in text
    else:
        assert (
            f'`weights="imagenet"`: `"{default.tag}"`, top-1 accuracy '
            f"{default.top1:.2f} % at {default.eval_size}x{default.eval_size} "
            f"pixels, license {default.license}."
        ) in text
    rows = [row for row in WEIGHTS if row.variant == key]
    assert all(f'`"{row.tag}"`' in text for row in rows)
    for row in rows[:1]:
        assert f"- Parameters: {row.num_params:,}, with a class" in text
    assert ("- Other weights: none." in text) == (rows in ([], [default]))


@every_callable
def test_signatures_are_those_of_keras(callable_):
    theirs = inspect.signature(keras.applications.ResNet50).parameters
    ours = inspect.signature(callable_).parameters
    assert list(ours) == list(theirs)
    for name, parameter in ours.items():
        default = None if name == "name" else theirs[name].default
        assert parameter.default == default
        assert parameter.kind is theirs[name].kind
        assert name == "self" or f"{name}: " in callable_.__doc__


@every_callable
def test_callables_build_their_variant(callable_, monkeypatch):
    asked = []
    build = resnext.build

    def shallow(config, *arguments):
        asked.append(config)
        out_channels = config.out_channels[:1]
        config = dataclasses.replace(
            config, depths=(1,), out_channels=out_channels
        )
        return build(config, *arguments)

    monkeypatch.setattr(resnext, "build", shallow)
    model = without_values(callable_, weights=None)
    names = {plain(name): name for name in VARIANTS}
    variant = names[plain(callable_.__name__)]
    size = VARIANTS[variant].default_size
    assert asked == [VARIANTS[variant]]
    assert model.name == variant
    assert model.input_shape == (None, size, size, 3)
    assert model.output_shape == (None, 1000)
    assert model.weights_info is None


def test_fields_of_the_configuration_may_change():
    model = without_values(
        keras_resnext.get_model,
        "resnext26ts.ra2_in1k",
        weights=None,
        name="mine",
        output_stride=8,
        stochastic_depth=0.1,
        dropout=0.2,
    )
    assert model.name == "mine"
    assert model.get_layer("stage4_block2_out").output.shape[1:3] == (32, 32)
    assert model.get_layer("stage4_block2_drop").rate == pytest.approx(0.1)
    assert model.get_layer("dropout").rate == 0.2


def test_weights_fit_whatever_is_dropped_or_dilated(monkeypatch):
    asked = []
    monkeypatch.setattr(
        models, "load_checkpoint", lambda _, source: asked.append(source)
    )
    for changes in ({"output_stride": 8}, {"dropout": 0.1}):
        config = dataclasses.replace(VARIANTS["resnext26ts"], **changes)
        model = without_values(
            keras_resnext.ResNeXt, config, weights="imagenet"
        )
        assert model.name == "resnext26ts"
    assert [source.name for source in asked] == ["resnext26ts.ra2_in1k"] * 2


def test_arguments_may_go_by_place():
    model = without_values(
        keras_resnext.ResNeXt50, False, None, None, (64, 64, 1), "max"
    )
    assert model.input_shape == (None, 64, 64, 1)
    assert model.output_shape == (None, 2048)
    model = without_values(
        keras_resnext.ResNeXt50, weights=None, classes=7, name="mine"
    )
    assert (model.name, model.output_shape) == ("mine", (None, 7))


def test_unknown_arguments_are_refused():
    with pytest.raises(TypeError, match="num_classes"):
        keras_resnext.ResNeXt50(weights=None, num_classes=10)
    with pytest.raises(TypeError, match="too many"):
        keras_resnext.ResNeXt50(*range(9))


def test_pretrained_weights_bring_their_classes():
    with pytest.raises(ValueError, match=r"1,000.*reset_classifier"):
        keras_resnext.ResNeXt50(weights="imagenet", classes=10)


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_pretrained_weights_know_two_activations(activation):
    with pytest.raises(ValueError, match="'softmax' or None"):
        keras_resnext.ResNeXt50(classifier_activation=activation)


def test_unknown_weights_list_the_tags():
    with pytest.raises(ValueError, match=r"a1h_in1k.*tv_in1k"):
        keras_resnext.ResNeXt50(weights="nonsense")


def test_a_configuration_of_ones_own_has_no_published_weights(tiny):
    with pytest.raises(ValueError, match="weights=None"):
        keras_resnext.ResNeXt(tiny, weights="imagenet")


def test_a_missing_file_is_said_to_be_missing(tmp_path, tiny):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        keras_resnext.ResNeXt(tiny, weights=tmp_path / "nowhere.pth")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnext50_32x4d", "resnext50_32x4d.a1h_in1k"),
        ("resnext50_32x4d.tv2_in1k", "resnext50_32x4d.tv2_in1k"),
    ],
)
def test_get_model_takes_tags(name, expected, monkeypatch):
    asked = []
    monkeypatch.setattr(
        models, "load_checkpoint", lambda _, source: asked.append(source)
    )
    without_values(keras_resnext.get_model, name)
    assert [record.name for record in asked] == [expected]


def test_weights_of_other_classes_build_their_own_head(monkeypatch):
    monkeypatch.setattr(models, "load_checkpoint", lambda model, source: None)
    name = "seresnextaa101d_32x8d.sw_in12k"
    model = without_values(keras_resnext.get_model, name)
    assert model.output_shape == (None, 11821)
    with pytest.raises(ValueError, match="11,821 classes"):
        keras_resnext.get_model(name, classes=5)


def test_get_model_suggests():
    with pytest.raises(ValueError, match="mean 'resnext50_32x4d'") as error:
        keras_resnext.get_model("resnext50_32x5d")
    for name in VARIANTS:
        assert name in str(error.value)


def test_list_models():
    assert keras_resnext.list_models() == sorted(VARIANTS)
    found = keras_resnext.list_models("*_64x4d")
    assert found == ["resnext101_64x4d", "seresnext101_64x4d"]
    assert keras_resnext.list_models("densenet*") == []


def test_arguments_of_another_kind_are_refused(tiny):
    model = keras_resnext.ResNeXt(tiny, classes=2)
    for classes in (0, -1, 2.5, "ten"):
        with pytest.raises(ValueError, match="`classes` must be a positive"):
            keras_resnext.ResNeXt(tiny, classes=classes)
        with pytest.raises(ValueError, match="`classes` must be a positive"):
            keras_resnext.finetuning.reset_classifier(model, classes)
    with pytest.raises(TypeError, match="`name` must be a string"):
        keras_resnext.get_model(None)
    with pytest.raises(TypeError, match="must be a ResNeXtConfig"):
        keras_resnext.ResNeXt("resnext50_32x4d")
