"""Recipes: their numbers, other numbers, and training by them."""

import dataclasses
import re

import keras
import numpy as np
import pytest

from keras_resnext.training import recipes
from keras_resnext.training.optimizers import LAMB
from keras_resnext.training.optimizers import SGD

EVERY_RECIPE = pytest.mark.parametrize("name", recipes.list_recipes())


def test_names():
    assert recipes.list_recipes() == [
        *("paper", "cifar_paper", "cifar_short"),
        *("torchvision_v1", "torchvision_v2", "timm_ra", "a1", "a2", "a3"),
        *("finetune", "retinanet", "retinanet_short"),
    ]


@EVERY_RECIPE
def test_table(name):
    recipe = recipes.get(name)
    lines = str(recipe).splitlines()
    names = [field.name for field in dataclasses.fields(recipe)]
    assert [line.split()[0] for line in lines] == names
    assert {line.index(line.split(maxsplit=1)[1]) for line in lines} == {21}
    assert all(line.isprintable() for line in lines)


def test_table_says_it_in_words():
    lines = str(recipes.get("paper")).splitlines()
    assert "nesterov             yes" in lines
    assert "drops                30, 60, 90" in lines
    assert "weight_decay         0.0001" in lines


# What training by a recipe means


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("paper", {0: 0.1, 29: 0.1, 30: 0.01, 60: 1e-3, 99: 1e-4}),
        # The paper's code counts from 1 and drops after 49 and 74 %.
        ("cifar_paper", {146: 0.1, 147: 0.01, 221: 0.01, 222: 1e-3}),
        ("torchvision_v1", {0: 0.4, 30: 0.04}),
        ("torchvision_v2", {0: 0.005, 5: 0.5}),
        ("a3", {0: 0.0, 1: 1.6e-3}),
    ],
)
def test_rates(name, expected):
    rates = recipes.get(name).rates()
    assert len(rates) == recipes.get(name).epochs
    for epoch, rate in expected.items():
        assert rates[epoch] == pytest.approx(rate)


@EVERY_RECIPE
def test_rate_follows_the_batch(name):
    recipe = recipes.get(name)
    half = recipe.rates(recipe.batch_size // 2)
    np.testing.assert_allclose(np.array(half) * 2, recipe.rates(), rtol=1e-12)


@EVERY_RECIPE
def test_lamb_ends_at_the_least_rate(name):
    recipe = recipes.get(name)
    if recipe.optimizer == "lamb":
        least = recipe.minimum_rate * recipe.learning_rate
        assert least == pytest.approx(1e-6)
        assert least < recipe.rates()[-1] < 2 * least + 1e-5 * recipe.epochs


@EVERY_RECIPE
def test_optimizer(name):
    recipe = recipes.get(name)
    optimizer = recipe.make_optimizer(steps_per_epoch=7)
    types = {"sgd": SGD, "lamb": LAMB, "adamw": keras.optimizers.AdamW}
    assert isinstance(optimizer, types[recipe.optimizer])  # on torch, its own
    assert optimizer.weight_decay == recipe.weight_decay
    if recipe.optimizer != "adamw":
        assert optimizer.exclude_rank == (-1 if recipe.decay_all else 1)
    config = optimizer.get_config()
    schedule = config["learning_rate"]["config"]
    assert schedule == {"rates": recipe.rates(), "steps_per_epoch": 7}
    assert optimizer.use_ema == (name == "torchvision_v2")
    if optimizer.use_ema:  # 0.99998 of torchvision's, as it counts
        steps = 600 / 1024 / (1 - 0.99998)
        assert optimizer.ema_momentum**steps == pytest.approx(np.exp(-1), 1e-2)


@pytest.mark.parametrize("name", ["paper", "a2"])
def test_training(name):
    recipe = recipes.get(name, epochs=3, warmup_epochs=1)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    optimizer = recipe.make_optimizer(2, 64, global_clipnorm=1.0)
    assert optimizer.global_clipnorm == 1.0
    model.compile(optimizer, "mse")
    x, y = np.ones((8, 4), "float32"), np.ones((8, 2), "float32")
    losses = model.fit(x, y, 4, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


# Other numbers


def test_override():
    recipe = recipes.get("paper", "epochs=9", "drops=3,6", "nesterov=no")
    assert (recipe.epochs, recipe.drops, recipe.nesterov) == (9, (3, 6), False)
    assert recipe.override(mixup=0.2).mixup == 0.2
    assert recipe.override("mixup=0.2", "policy=rand_augment").mixup == 0.2
    assert recipe.override("drops=").drops == ()
    assert recipes.get("paper").epochs == 100


@pytest.mark.parametrize(
    ("name", "epochs", "rates"),
    [
        ("torchvision_v1", 10, [0.4] * 3 + [0.04] * 3 + [4e-3] * 3 + [4e-4]),
        ("cifar_short", 3, [0.1, 0.075, 0.025]),
        ("cifar_short", 1, [0.1]),
    ],
)
def test_a_short_recipe_falls_too(name, epochs, rates):
    recipe = recipes.get(name).lasting(epochs)
    np.testing.assert_allclose(recipe.rates(), rates, rtol=1e-12)


def test_a_long_recipe_rises_as_fast():
    recipe = recipes.get("cifar_short")
    assert recipe.lasting(72).rates()[:3] == recipe.rates()[:3]
    assert recipe.lasting(recipe.epochs) == recipe
    assert recipes.get("paper").lasting(200).drops == (60, 120, 180)
    with pytest.raises(ValueError, match="`epochs` must be at least 1"):
        recipe.lasting(0)


@pytest.mark.parametrize(
    ("assignments", "words"),
    [
        (["epoch=9"], "no field 'epoch'. Did you mean 'epochs'"),
        (["qqq=9"], "no field 'qqq'. There are: name, optimizer"),
        (["epochs=nine"], "`epochs` must be a whole number. Received: 'nine'"),
        (["epochs"], "`epochs` must be a whole number. Received: ''"),
        (["epochs=0"], "`epochs` must be at least 1"),
        (["mixup=much"], "`mixup` must be a number. Received: 'much'"),
        (["nesterov=perhaps"], "`nesterov` must be yes or no"),
        (["drops=a,b"], "`drops` must be numbers, as 30,60"),
        (["optimizer=adam"], "`optimizer` must be one of sgd, lamb"),
        (["momentum=1"], "`momentum` must be at least 0 and below 1"),
        (["evaluation_size=300"], "Evaluation can't crop more than there is"),
    ],
    ids=str,
)
def test_wrong_overrides(assignments, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        recipes.get("paper", *assignments)


def test_unknown_recipe():
    with pytest.raises(ValueError, match="Did you mean 'cifar_paper'"):
        recipes.get("cifar_papr")
