"""Models of random weights for a recipe."""

from dataclasses import replace

import keras

from keras_resnext.config import ResNeXtConfig
from keras_resnext.models import ResNeXt
from keras_resnext.resnext_model import set_data_config
from keras_resnext.training.recipe import Recipe


def build_model(
    config: ResNeXtConfig,
    recipe: Recipe,
    labels: list[str],
    activation: str | None = None,
    name: str | None = None,
) -> keras.Model:
    """Build a model of random weights for a recipe.

    Args:
        config: Configuration of the model.
        recipe: Recipe, which sets dropout, stochastic depth and
            `zero_init_last`.
        labels: Names of the classes.
        activation: Activation of the classifier, `None` for logits.
        name: Name of the model.

    Returns:
        A model for images of any size that stores its evaluation transform and
        the names of its classes.
    """
    model = ResNeXt(
        configure(config, recipe),
        weights=None,
        input_shape=(None, None, 3),
        classes=len(labels),
        classifier_activation=activation,
        name=name,
    )
    describe_images(model, recipe, labels)
    return model


def configure(config: ResNeXtConfig, recipe: Recipe) -> ResNeXtConfig:
    """Return a configuration with the fields that a recipe sets."""
    return replace(
        config,
        stochastic_depth=recipe.stochastic_depth,
        dropout=recipe.dropout,
        zero_init_last=recipe.zero_init_last,
    )


def describe_images(
    model: keras.Model, recipe: Recipe, labels: list[str]
) -> None:
    """Store a recipe's evaluation transform and the labels in a model."""
    set_data_config(
        model,
        mean=recipe.mean,
        std=recipe.std,
        interpolation=recipe.interpolation,
        size=recipe.evaluation_size,
        crop_pct=recipe.evaluation_size / recipe.evaluation_resize,
        labels=labels,
    )
