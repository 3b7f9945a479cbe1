"""Learning rates of each epoch against PyTorch's and timm's schedulers."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_resnext.training.schedules import EpochSchedule
from keras_resnext.training.schedules import cosine
from keras_resnext.training.schedules import multistep


def torchs(rate, epochs, make):
    import torch

    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], rate)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    rates = []
    for _ in range(epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parity
def test_steps_are_torchs():
    expected = torchs(0.4, 100, lambda lr, o: lr.StepLR(o, 30, 0.1))
    found = multistep(0.4, 100, milestones=(30, 60, 90))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parity
def test_cosine_is_torchvisions():
    """Linear from a hundredth, then a cosine over what is left."""

    def make(lr, optimizer):
        rise = lr.LinearLR(optimizer, 0.01, total_iters=5)
        fall = lr.CosineAnnealingLR(optimizer, 600 - 5, eta_min=0.0)
        return lr.SequentialLR(optimizer, [rise, fall], milestones=[5])

    expected = torchs(0.5, 600, make)
    found = cosine(0.5, 600, warmup_epochs=5, warmup_factor=0.01)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parity
def test_cosine_is_timms():
    import torch
    from torch_helpers import import_torchvision

    import_torchvision()
    scheduler = pytest.importorskip("timm.scheduler")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 5e-3)
    theirs = scheduler.CosineLRScheduler(
        optimizer, 100, lr_min=1e-6, warmup_t=5, warmup_lr_init=1e-4
    )
    found = cosine(5e-3, 100, 5, 0.02, 2e-4, cosine_after_warmup=False)
    for epoch, rate in enumerate(found):
        theirs.step(epoch)
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], 1e-9)


def test_a_rate_lasts_an_epoch():
    schedule = EpochSchedule([0.4, 0.2, 0.1], steps_per_epoch=3)
    found = [
        float(ops.convert_to_numpy(schedule(ops.convert_to_tensor(step))))
        for step in range(12)
    ]
    expected = [0.4] * 3 + [0.2] * 3 + [0.1] * 6
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parity
def test_the_rise_by_step_is_torchs():
    """So is mmengine's, made to go by step."""
    steps, epochs = 4, 3
    rates = cosine(0.5, 10, epochs, 1e-4)
    schedule = EpochSchedule(rates, steps, epochs)
    expected = torchs(
        *(0.5, epochs * steps + 1),
        lambda lr, o: lr.LinearLR(o, 1e-4, total_iters=epochs * steps),
    )
    found = [
        float(ops.convert_to_numpy(schedule(ops.convert_to_tensor(step))))
        for step in range(10 * steps)
    ]
    np.testing.assert_allclose(found[: len(expected)], expected, rtol=1e-5)
    # Then each rate lasts an epoch.
    by_epoch = np.repeat(rates[epochs:], steps)
    np.testing.assert_allclose(found[epochs * steps :], by_epoch, rtol=1e-5)


def test_training_follows_it_and_keeps_it(tmp_path):
    schedule = EpochSchedule([1.0, 0.0], steps_per_epoch=2)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(schedule), "mse")
    x, y = np.ones((4, 2), "float32"), np.ones((4, 1), "float32")
    model.fit(x, y, 2, epochs=1, verbose=0)
    after = model.get_weights()
    model.fit(x, y, 2, epochs=2, verbose=0)
    for a, b in zip(after, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    model.save(tmp_path / "model.keras")
    other = keras.saving.load_model(tmp_path / "model.keras")
    config = other.optimizer.get_config()["learning_rate"]["config"]
    assert config == {
        "learning_rates": [1.0, 0.0],
        "steps_per_epoch": 2,
        "warmup_epochs": 0,
    }


@pytest.mark.parametrize(("rates", "steps"), [([], 5), ([0.1], 0)])
def test_wrong_arguments(rates, steps):
    with pytest.raises(ValueError, match="needs the learning rate of"):
        EpochSchedule(rates, steps)
