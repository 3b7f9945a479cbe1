"""Batches that `fit`, `evaluate` and `predict` take on any backend."""

import numpy as np
import pytest

import keras_resnext
from keras_resnext import data
from keras_resnext.training import recipes

SMALL = ("evaluation_size=32", "evaluation_resize=36", "train_size=32")


@pytest.mark.parametrize(
    "name", ["cifar_paper", pytest.param("a2", marks=pytest.mark.slow)]
)
def test_fit_takes_another_epoch_each_time(tiny, name):
    noise = np.random.default_rng(0).integers(0, 256, (10, 32, 32, 3), "uint8")
    classes = np.arange(10) % 3
    dataset = data.from_arrays((noise, classes), test=(noise, classes))
    recipe = recipes.get(name, *SMALL, batch_size=4)
    batches = data.train_batches(dataset, recipe)
    assert len(batches) == 2
    first, other = (next(iter(batches)) for _ in range(2))
    assert (first[0].numpy() != other[0].numpy()).any()
    model = keras_resnext.ResNeXt(
        tiny, weights=None, classes=3, classifier_activation=None
    )
    model.compile(
        recipe.make_optimizer(len(batches)),
        recipe.make_loss(),
        weighted_metrics=["accuracy"],
    )
    test = data.evaluation_batches(dataset, recipe, "test")
    history = model.fit(
        batches, epochs=2, validation_data=test, shuffle=False, verbose=0
    ).history
    assert np.isfinite(history["loss"] + history["val_loss"]).all()
    # Each image counts once, though batches are filled up.
    _, accuracy = model.evaluate(test, verbose=0)
    logits = np.concatenate(
        [model.predict_on_batch(images.numpy()) for images, *_ in test]
    )
    right = np.mean(logits[:10].argmax(-1) == classes)
    assert accuracy == pytest.approx(right, abs=1e-6)
