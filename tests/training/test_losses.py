"""Losses, against timm's."""

import keras
import numpy as np
import pytest
from torch_helpers import import_torchvision

from keras_resnext.training import recipes
from keras_resnext.training.losses import BinaryCrossentropy


@pytest.mark.parity
@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5])
def test_hard_labels_are_timms(threshold):
    import_torchvision()
    import torch

    losses = pytest.importorskip("timm.loss")
    chance = np.random.default_rng(0)
    logits = chance.normal(size=(6, 5)).astype("float32")
    labels = chance.dirichlet([0.3] * 5, 6).astype("float32")
    theirs = losses.BinaryCrossEntropy(target_threshold=threshold)
    expected = theirs(torch.tensor(logits), torch.tensor(labels)).item()
    loss = BinaryCrossentropy(threshold)
    assert float(loss(labels, logits)) == pytest.approx(expected, rel=1e-5)
    again = BinaryCrossentropy.from_config(loss.get_config())
    assert float(again(labels, logits)) == float(loss(labels, logits))


def test_the_recipes_labels_are_hard():
    """Two classes of a mixed and smoothed label count fully."""
    label = np.full((1, 10), 0.01, "float32")
    label[0, [3, 7]] = 0.64, 0.28
    logits = np.linspace(-2, 2, 10, dtype="float32")[None]
    hard = np.isin(np.arange(10), [3, 7]).astype("float32")[None]
    plain = keras.losses.BinaryCrossentropy(from_logits=True)
    for name in ("a1", "a2", "a3"):
        loss = recipes.get(name).make_loss()
        assert float(loss(label, logits)) == float(plain(hard, logits))
        soft = recipes.get(name, bce_target_thresh=0.0).make_loss()
        assert float(soft(label, logits)) == float(plain(label, logits))


def test_wrong_arguments():
    with pytest.raises(ValueError, match="`target_threshold` must be"):
        BinaryCrossentropy(1.0)
    with pytest.raises(ValueError, match="needs loss='binary_crossentropy'"):
        recipes.get("a2", "loss=categorical_crossentropy")


@pytest.mark.parametrize("name", ["paper", "a1"])
def test_integer_labels_get_a_sentence(name, tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(7)])
    model.compile("sgd", recipes.get(name).make_loss(), run_eagerly=True)
    x = np.ones((4, 3), "float32")
    for wrong in (np.array([0, 3, 3, 6]), np.array([[0], [3], [3], [6]])):
        with pytest.raises(ValueError, match=r"\(batch, 7\).*one_hot"):
            model.train_on_batch(x, wrong)
    model.train_on_batch(x, np.eye(7, dtype="float32")[[0, 3, 3, 6]])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.loss) is type(model.loss)
