"""Wrong arguments of every public function: one sentence each, naming them."""

import numpy as np
import pytest

import keras_resnext
from keras_resnext import checks
from keras_resnext import finetuning
from keras_resnext.training import recipes


@pytest.fixture(scope="module")
def model():
    model = made(classes=10)
    keras_resnext.set_data_config(model, size=32, labels=[*"0123456789"])
    return model


def made(**arguments):
    return keras_resnext.get_model(
        "resnext23s_4x32d",
        **{"weights": None, "input_shape": (32, 32, 3), **arguments},
    )


WRONG = {
    "up_to": lambda model: finetuning.freeze(model, 3),
    "model": lambda model: finetuning.freeze(None, "stage1"),
    "path": lambda model: keras_resnext.load_checkpoint(model, 3),
    "pattern": lambda model: keras_resnext.list_models(3),
    "license": lambda model: keras_resnext.list_weights(license=3),
    "name": lambda model: recipes.get(3),
    "epochs": lambda model: recipes.get("paper", epochs="a"),
    "learning_rate": lambda model: recipes.get("paper", learning_rate=None),
    "assignments": lambda model: recipes.get("paper", 3),
    "size": lambda model: keras_resnext.set_data_config(model, size="a"),
    "mean": lambda model: keras_resnext.set_data_config(model, mean=3),
    "labels": lambda model: finetuning.reset_classifier(model, 2, labels="ab"),
    "dropout": lambda model: finetuning.reset_classifier(model, 2, dropout="a"),
    "top": lambda model: keras_resnext.decode_predictions(
        np.zeros((1, 1000)), top=1.5
    ),
    "directory": lambda model: keras_resnext.export(model, None),
    "formats": lambda model: keras_resnext.export(model, "x", 3),
    "transform": lambda model: keras_resnext.export(model, "x", transform=3),
    "max_accuracy_drop": lambda model: keras_resnext.export(
        model, "x", max_accuracy_drop="a"
    ),
    "threads": lambda model: keras_resnext.load_exported("x", "a"),
    "weights": lambda model: made(weights=3),
    "include_top": lambda model: made(include_top="no"),
    "stochastic_depth": lambda model: made(stochastic_depth=None),
    "output_stride": lambda model: made(output_stride="a"),
    "depths": lambda model: made(depths=3),
    "grouping": lambda model: made(grouping=(32, 4)),
    "stem": lambda model: made(stem=64),
    "attention": lambda model: made(attention="se"),
}


@pytest.mark.once
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_type_is_refused_by_name(model, name):
    with pytest.raises(TypeError, match=rf"`{name}` must be .*Received: "):
        WRONG[name](model)


@pytest.mark.once
@pytest.mark.parametrize(
    "shape", ["abc", 224, (224.0, 224.0, 3), ("a", "b", "c"), (32, 32), None]
)
def test_only_three_numbers_are_an_input_shape(shape):
    if shape is None:
        assert made(input_shape=None).input_shape == (None, 32, 32, 3)
        return
    with pytest.raises(ValueError, match="must be three numbers"):
        made(input_shape=shape)


@pytest.mark.once
@pytest.mark.parametrize(
    ("value", "hint", "fits"),
    [
        (np.int64(3), int, True),
        (3, float, True),
        (np.float32(3), float, True),
        (True, int, False),
        (True, bool, True),
        (1, bool, False),
        (float("nan"), float, True),
        ([1, 2], tuple[int, ...], True),
        (np.ones(3), tuple[float, float, float], True),
        ("12", tuple[str, ...], False),
        ((1, None), tuple[int | None, ...], True),
        (None, int | None, True),
        (np.str_("x"), str, True),
    ],
)
def test_values_fit_hints(value, hint, fits):
    assert checks.fits(value, hint) == fits


@pytest.mark.once
def test_predictions_of_nan_have_no_names():
    preds = np.zeros((3, 1000), "float32")
    preds[2, 7] = np.nan
    with pytest.raises(ValueError, match="NaN, for the first time in row 2"):
        keras_resnext.decode_predictions(preds)


def test_data_without_statistics_leaves_a_model_unchanged(model):
    before = model.get_weights()
    for data, match in (
        (None, "no images"),
        ([], "no images"),
        (np.zeros((0, 32, 32, 3)), "no images"),
        (np.full((2, 32, 32, 3), np.nan, "float32"), "NaN"),
    ):
        with pytest.raises(ValueError, match=match):
            finetuning.update_batch_norm(model, data)
    for value, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, other)


def test_names_without_an_order_are_refused(model):
    with pytest.raises(TypeError, match="`labels` must be a list of 2 names"):
        finetuning.reset_classifier(model, 2, labels={"cat", "dog"})
