"""Averages of weights, against torch's and torchvision's way of using them."""

import keras
import numpy as np
import pytest

from keras_resnext.layers import BatchNormalization
from keras_resnext.training.averaging import WeightAverage

STEPS, EPOCHS = 5, 4
X = np.random.default_rng(0).normal(size=(STEPS * 4, 3)).astype("float32")
Y = X.sum(-1, keepdims=True) ** 2


def made():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((1, 1, 3)),
            BatchNormalization(momentum=0.6),
            keras.layers.Flatten(),
            keras.layers.Dense(2, activation="relu"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.SGD(0.05), "mse")
    return model


def fit(model, *callbacks, start=0, epochs=EPOCHS, **options):
    x = X.reshape(-1, 1, 1, 3)
    return model.fit(
        *(x, Y, 4, epochs, 0, list(callbacks)),
        initial_epoch=start,
        shuffle=False,
        **options,
    ).history


def assert_equal(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


class Recorder(keras.callbacks.Callback):
    """Recorder of the weights after each step."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def on_train_batch_end(self, batch, logs=None):
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        self.steps.append(self.model.get_weights())


@pytest.mark.parity
@pytest.mark.parametrize("warmup_steps", [0, STEPS, 3 * STEPS])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_it_is_torchvisions(steps, warmup_steps):
    torch = pytest.importorskip("torch")
    model, recorder = made(), Recorder()
    decay = 0.7
    fit(model, WeightAverage(decay, steps, warmup_steps), recorder)

    def module(weights):
        owner = torch.nn.Module()
        for i, value in enumerate(weights):
            owner.register_buffer(f"w{i}", torch.tensor(value))
        return owner

    swa = torch.optim.swa_utils
    average = swa.AveragedModel(
        module(recorder.steps[0]),
        multi_avg_fn=swa.get_ema_multi_avg_fn(decay),
        use_buffers=True,
    )
    for i, weights in enumerate(recorder.steps):
        if i % steps == 0:
            average.update_parameters(module(weights))
            if i < warmup_steps:
                average.n_averaged.fill_(0)
    expected = [value.numpy() for value in average.module.buffers()]
    assert len(expected) == len(model.weights) == 8
    for a, b in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    # The moving statistics are averages, too.
    assert (model.get_weights()[2] != recorder.steps[-1][2]).all()


def test_training_goes_on_with_the_weights_themselves():
    plain, model = made(), made()
    average = WeightAverage(0.9)
    x = X.reshape(-1, 1, 1, 3)
    plain_history = fit(plain)
    history = fit(model, average, validation_data=(x, Y))
    assert history["loss"] == plain_history["loss"]
    # Validation saw what `fit` leaves.
    last = model.evaluate(x, Y, 4, verbose=0)
    assert history["val_loss"][-1] == pytest.approx(last, rel=1e-5)
    averages = model.get_weights()
    average.hide()
    assert_equal(model.get_weights(), plain.get_weights())
    average.show()
    assert_equal(model.get_weights(), averages)


def test_checkpoints_hold_the_averages(tmp_path):
    model = made()
    path = tmp_path / "last.weights.h5"
    saver = keras.callbacks.ModelCheckpoint(
        path, "loss", save_weights_only=True
    )
    fit(model, WeightAverage(0.9, 2), saver)
    other = made()
    other.load_weights(path)
    assert_equal(other.get_weights(), model.get_weights())


@pytest.mark.parametrize("first", [1, 3])
def test_it_continues_from_its_state(first):
    whole, parts = made(), made()
    fit(whole, WeightAverage(0.8, 3, 2 * STEPS))
    before = WeightAverage(0.8, 3, 2 * STEPS)
    fit(parts, before, epochs=first)
    before.hide()
    after = WeightAverage(0.8, 3, 2 * STEPS)
    after.set_state(before.get_state())
    fit(parts, after, start=first)
    assert_equal(parts.get_weights(), whole.get_weights())


def test_wrong_arguments():
    with pytest.raises(ValueError, match="`decay` must be at least 0"):
        WeightAverage(1.0)
    with pytest.raises(ValueError, match="`steps` must be at least 1"):
        WeightAverage(0.9, 0)
