"""Recipes: their numbers, other numbers, and training by them."""

import dataclasses
import re

import keras
import numpy as np
import pytest
from torch_helpers import import_torchvision

import keras_resnext
from keras_resnext.training import recipes
from keras_resnext.training.optimizers import LAMB
from keras_resnext.training.optimizers import SGD

EVERY_RECIPE = pytest.mark.parametrize("name", recipes.list_recipes())


@EVERY_RECIPE
def test_table(name):
    recipe = recipes.get(name)
    lines = str(recipe).splitlines()
    names = [field.name for field in dataclasses.fields(recipe)]
    assert [line.split()[0] for line in lines] == names
    values = [line.split(maxsplit=1)[1] for line in lines]
    assert all(
        line[:21] + value == line
        for line, value in zip(lines, values, strict=True)
    )
    assert all(line.isprintable() for line in lines)


def test_table_says_it_in_words():
    lines = str(recipes.get("paper")).splitlines()
    assert "nesterov             yes" in lines
    assert "milestones           30, 60, 90" in lines
    assert "weight_decay         0.0001" in lines


# Training by a recipe


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("paper", {0: 0.1, 29: 0.1, 30: 0.01, 60: 1e-3, 99: 1e-4}),
        # The paper's code counts from 1 and drops after 49 and 74 %.
        ("cifar_paper", {146: 0.1, 147: 0.01, 221: 0.01, 222: 1e-3}),
        ("torchvision_v1", {0: 0.4, 30: 0.04}),
        ("torchvision_v2", {0: 0.005, 5: 0.5}),
        ("timm_ra", {0: 1e-5, 1: 0.120008}),
        ("a3", {0: 8e-7, 1: 1.60064e-3}),
    ],
)
def test_rates(name, expected):
    rates = recipes.get(name).learning_rates()
    assert len(rates) == recipes.get(name).epochs
    for epoch, rate in expected.items():
        assert rates[epoch] == pytest.approx(rate)


@EVERY_RECIPE
def test_rate_follows_the_batch(name):
    recipe = recipes.get(name)
    half = recipe.learning_rates(recipe.batch_size // 2)
    np.testing.assert_allclose(
        np.array(half) * 2, recipe.learning_rates(), rtol=1e-12
    )


@EVERY_RECIPE
def test_lamb_ends_at_the_least_rate(name):
    recipe = recipes.get(name)
    if recipe.optimizer == "lamb":
        least = recipe.min_factor * recipe.learning_rate
        assert least == pytest.approx(1e-6)
        assert (
            least
            < recipe.learning_rates()[-1]
            < 2 * least + 1e-5 * recipe.epochs
        )


@EVERY_RECIPE
def test_optimizer(name):
    recipe = recipes.get(name)
    optimizer = recipe.make_optimizer(steps_per_epoch=7)
    types = {"sgd": SGD, "lamb": LAMB, "adamw": keras.optimizers.AdamW}
    assert isinstance(optimizer, types[recipe.optimizer])  # on torch, its own
    assert optimizer.weight_decay == recipe.weight_decay
    assert not optimizer.use_ema
    config = optimizer.get_config()
    schedule = config["learning_rate"]["config"]
    rising = recipe.warmup_epochs if name in ("a1", "a2", "a3") else 0
    assert schedule == {
        "learning_rates": recipe.learning_rates(),
        "steps_per_epoch": 7,
        "warmup_epochs": rising,
    }


# Every block's kinds of variables, with biases outside of normalization.
SMALL = keras_resnext.ResNeXtConfig(
    depths=(1, 1),
    grouping=keras_resnext.FixedCardinality(4, 4),
    out_channels=(64, 128),
    attention=keras_resnext.Attention("se"),
)


def decayed(recipe):
    """Return the sorted shapes of what decays."""
    model = keras_resnext.ResNeXt(SMALL, weights=None, classes=10)
    optimizer = recipe.make_optimizer(1)
    optimizer.build(model.trainable_variables)
    return sorted(
        tuple(variable.shape)
        for variable in model.trainable_variables
        if (
            optimizer._use_weight_decay(variable)
            if recipe.optimizer == "adamw"
            else optimizer._decayed[optimizer._get_variable_index(variable)]
        )
    )


@pytest.mark.parity
@pytest.mark.parametrize("optimizer", ["sgd", "lamb", "adamw"])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_what_decays_is_torchvisions(optimizer, norm, bias):
    """Its set_weight_decay, with a decay of zero for norms and biases."""
    ops = import_torchvision().ops
    timm = pytest.importorskip("timm")
    theirs = timm.models.ResNet(
        timm.models.resnet.Bottleneck,
        (1, 1),
        num_classes=10,
        cardinality=4,
        base_width=4,
        channels=(16, 32),
        block_args={"attn_layer": "se"},
    )
    norms, others = ops._utils.split_normalization_params(theirs)
    biases = {
        id(parameter)
        for name, parameter in theirs.named_parameters()
        if name.endswith(".bias")
    }
    expected = norms if norm else []
    expected += [p for p in others if bias or id(p) not in biases]
    recipe = recipes.get(
        "torchvision_v2", optimizer=optimizer, decay_norm=norm, decay_bias=bias
    )
    found = decayed(recipe)
    assert sorted(map(np.prod, found)) == sorted(p.numel() for p in expected)


# Averages


@pytest.mark.parametrize("name", ["torchvision_v2", "torchvision_v2_repeated"])
@pytest.mark.parametrize("epochs", [600, 100, 50])
@pytest.mark.parametrize("batch_size", [1024, 256])
def test_the_average_is_torchvisions_on_imagenet(name, epochs, batch_size):
    """Derived as by its train.py, within a thousandth."""
    recipe = recipes.get(name).lasting(epochs)
    steps = 1_281_167 // batch_size
    (average,) = recipe.make_callbacks(steps)
    adjust = batch_size * 32 / epochs
    alpha = min(1.0, (1.0 - 0.99998) * adjust)
    assert average.steps == 32
    assert 1 - average.decay == pytest.approx(alpha, rel=1e-3)
    assert average.warmup_steps == recipe.warmup_epochs * steps


@pytest.mark.parametrize("steps", [1, 3, 10, 45, 500, 12_500])
@pytest.mark.parametrize("epochs", [1, 10, 60])
def test_an_average_remembers_the_same_share_of_any_run(epochs, steps):
    recipe = recipes.get("torchvision_v2").lasting(epochs)
    (average,) = recipe.make_callbacks(steps)
    memory = average.steps / (1 - average.decay)
    assert memory == pytest.approx(max(epochs * steps / 25.623, 1), rel=0.01)
    assert average.steps <= max(memory / 4, 1)


def test_a_recipe_without_averages_needs_no_callbacks():
    for name in recipes.list_recipes():
        found = recipes.get(name).make_callbacks(10)
        assert len(found) == name.startswith("torchvision_v2")


@pytest.mark.parametrize(
    ("decay", "warmup", "words"),
    [
        ("0.9999999", 0, "88% .* ema_decay to 0.9999977 or less, or to 0"),
        ("0.999998", 0, "8%"),
        ("0.99998", 9, "8%"),
    ],
)
def test_a_run_shorter_than_its_averages_memory(decay, warmup, words):
    recipe = recipes.get(
        "torchvision_v2",
        f"ema_decay={decay}",
        f"warmup_epochs={warmup}",
        epochs=10,
    )
    with pytest.warns(UserWarning, match=words):
        recipe.make_callbacks(100)


def test_the_highest_decay_that_is_named_is_not_too_high():
    recipe = recipes.get("torchvision_v2", "ema_decay=0.9999976", epochs=10)
    recipe.override(warmup_epochs=0).make_callbacks(100)


# Sources


@pytest.mark.parity
@pytest.mark.parametrize("name", ["timm_ra", "a1", "a2", "a3"])
def test_evaluation_is_timms(name):
    """Its floor of size / crop_pct: 235 for 224 at 0.95."""
    import_torchvision()
    data = pytest.importorskip("timm.data")
    recipe = recipes.get(name)
    crop = 0.875 if name == "timm_ra" else 0.95
    transform = data.create_transform(
        224, crop_pct=crop, interpolation="bicubic"
    )
    assert recipe.evaluation_resize == transform.transforms[0].size
    assert recipe.interpolation == "bicubic"


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
    recipe = recipes.get("paper", "epochs=9", "milestones=3,6", "nesterov=no")
    assert (recipe.epochs, recipe.milestones, recipe.nesterov) == (
        9,
        (3, 6),
        False,
    )
    assert recipe.override(mixup=0.2).mixup == 0.2
    assert (
        recipe.override("mixup=0.2", "auto_augment=rand_augment").mixup == 0.2
    )
    assert recipe.override("milestones=").milestones == ()
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
    np.testing.assert_allclose(recipe.learning_rates(), rates, rtol=1e-12)


def test_a_long_recipe_rises_as_fast():
    recipe = recipes.get("cifar_short")
    assert (
        recipe.lasting(72).learning_rates()[:3] == recipe.learning_rates()[:3]
    )
    assert recipe.lasting(recipe.epochs) == recipe
    assert recipes.get("paper").lasting(200).milestones == (60, 120, 180)
    with pytest.raises(ValueError, match="`epochs` must be at least 1"):
        recipe.lasting(0)


@pytest.mark.parametrize(
    ("assignments", "words"),
    [
        (["epoch=9"], "no field 'epoch'. Did you mean 'epochs'"),
        (["qqq=9"], "no field 'qqq'. Fields: name, optimizer"),
        (["epochs=nine"], "`epochs` must be a whole number. Received: 'nine'"),
        (["epochs"], "`epochs` must be a whole number. Received: ''"),
        (["epochs=0"], "`epochs` must be at least 1"),
        (["mixup=much"], "`mixup` must be a number. Received: 'much'"),
        (["nesterov=perhaps"], "`nesterov` must be yes or no"),
        (["milestones=a,b"], "`milestones` must be numbers, such as 30,60"),
        (["optimizer=adam"], "`optimizer` must be one of sgd, lamb"),
        (["bce_target_thresh=0.2"], "needs loss='binary_crossentropy'"),
        (["ema_decay=1"], "`ema_decay` must be at least 0 and below 1"),
        (["momentum=1"], "`momentum` must be at least 0 and below 1"),
        (["evaluation_size=300"], "must be at most `evaluation_resize`"),
    ],
    ids=str,
)
def test_wrong_overrides(assignments, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        recipes.get("paper", *assignments)


def test_unknown_recipe():
    with pytest.raises(ValueError, match="Did you mean 'cifar_paper'"):
        recipes.get("cifar_papr")
