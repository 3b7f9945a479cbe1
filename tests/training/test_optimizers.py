"""SGD and LAMB against PyTorch's and timm's, step by step."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_resnext.training.optimizers import LAMB
from keras_resnext.training.optimizers import SGD

SHAPES = {
    "conv/kernel": (3, 3, 4, 8),
    "norm/gamma": (8,),
    "dense/kernel": (8, 5),
    "dense/bias": (5,),
}
STEPS, DROP = 50, 25
SCHEDULE = keras.optimizers.schedules.PiecewiseConstantDecay


def starts():
    rng = np.random.default_rng(0)
    return [rng.normal(size=s).astype("float32") for s in SHAPES.values()]


def slopes(step, weights):
    """Gradients of a valley with noise, so that rounding does not grow."""
    rng = np.random.default_rng(step)
    return [
        (0.3 * w + rng.normal(size=w.shape) * rng.uniform(0, 2)).astype(
            "float32"
        )
        for w in weights
    ]


def ours(optimizer, steps=STEPS, values=None):
    variables = [
        keras.Variable(value, name=name.replace("/", "_"))
        for name, value in zip(SHAPES, values or starts(), strict=True)
    ]
    for step in range(steps):
        weights = [ops.convert_to_numpy(v) for v in variables]
        gradients = map(ops.convert_to_tensor, slopes(step, weights))
        optimizer.apply(list(gradients), variables)
    return [ops.convert_to_numpy(v) for v in variables]


def theirs(make, clip=None):
    import torch

    parameters = [torch.nn.Parameter(torch.tensor(v)) for v in starts()]
    optimizer = make(parameters)
    first = [group["lr"] for group in optimizer.param_groups]
    for step in range(STEPS):
        for group, rate in zip(optimizer.param_groups, first, strict=True):
            # Keras' schedule changes after its boundary.
            group["lr"] = rate if step <= DROP else rate / 10
        weights = [p.detach().numpy() for p in parameters]
        for p, slope in zip(parameters, slopes(step, weights), strict=True):
            p.grad = torch.tensor(slope)
        if clip:
            torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
    return [p.detach().numpy() for p in parameters]


def dropping(rate):
    return SCHEDULE([DROP], [rate, rate / 10])


def assert_close(found, expected, bound=1e-6):
    for a, b in zip(found, expected, strict=True):
        assert np.abs(a - b).max() < bound * np.abs(b).max()


@pytest.mark.parity
@pytest.mark.parametrize("clip", [None, 5.0])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.9},
        {"weight_decay": 0.05},
        {"momentum": 0.9, "weight_decay": 0.05},
        {"momentum": 0.9, "weight_decay": 0.05, "nesterov": True},
        {"momentum": 0.9, "weight_decay": 0.05, "dampening": 0.5},
    ],
    ids=str,
)
def test_sgd_is_torchs(options, clip):
    import torch

    optimizer = SGD(dropping(0.1), global_clipnorm=clip, **options)
    expected = theirs(lambda p: torch.optim.SGD(p, 0.1, **options), clip)
    assert_close(ours(optimizer), expected)


@pytest.mark.parity
@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("decay", [None, 0.02])
def test_lamb_is_timms(decay, clip):
    from torch_helpers import import_torchvision

    import_torchvision()
    lamb = pytest.importorskip("timm.optim.lamb")
    optimizer = LAMB(dropping(0.05), weight_decay=decay, global_clipnorm=clip)

    def make(parameters):
        groups = [
            {
                "params": [p],
                "weight_decay": decay if decay and p.ndim > 1 else 0,
            }
            for p in parameters
        ]
        return lamb.Lamb(groups, lr=0.05, max_grad_norm=clip)

    assert_close(ours(optimizer), theirs(make))


def test_decay_is_multiplied_by_momentum():
    """The paper's 1e-4 at a momentum of 0.9 for 1,000 steps: 0.90557."""
    variable = keras.Variable(np.ones(1, "float32"))
    optimizer = SGD(0.1, momentum=0.9, weight_decay=1e-4)
    zero = [ops.zeros(1)]
    for _ in range(1000):
        optimizer.apply(zero, [variable])
    (end,) = ops.convert_to_numpy(variable)
    assert end == pytest.approx(0.90557, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "decayed"),
    [
        ({}, [True, True, True, True]),
        ({"exclude_rank": 1}, [True, False, True, False]),
        ({"exclude_names": ["gamma$", "^dense_b"]}, [True, False, True, False]),
        ({"exclude_names": ["dense"]}, [True, True, False, False]),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [SGD, LAMB])
def test_exclusions(kind, options, decayed):
    options = {"exclude_rank": -1, **options}

    def changes(decay):
        values = ours(kind(0.1, weight_decay=decay, **options), steps=1)
        return values

    found = [
        not np.array_equal(a, b)
        for a, b in zip(changes(0.5), changes(None), strict=True)
    ]
    assert found == decayed


def test_keras_own_exclusion():
    optimizer = SGD(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma"])
    expected = ours(SGD(0.1, weight_decay=0.5, exclude_rank=1), steps=3)
    assert_close(ours(optimizer, steps=3), expected)


# With what Keras' optimizers do


@pytest.mark.parametrize("kind", [SGD, LAMB])
def test_accumulated_gradients_are_their_mean(kind):
    rng = np.random.default_rng(0)
    pairs = rng.normal(size=(6, 2, 4, 3)).astype("float32")

    def end(gradients, **options):
        variable = keras.Variable(np.ones((4, 3), "float32"))
        optimizer = kind(0.1, weight_decay=0.1, **options)
        for gradient in gradients:
            optimizer.apply([ops.convert_to_tensor(gradient)], [variable])
        return ops.convert_to_numpy(variable)

    whole = end(pairs.mean(1))
    parts = end(pairs.reshape(12, 4, 3), gradient_accumulation_steps=2)
    np.testing.assert_allclose(parts, whole, rtol=1e-5)


def test_dampening_waits_for_the_first_whole_gradient():
    kept = {"momentum": 0.9, "dampening": 0.5, "gradient_accumulation_steps": 2}
    variable = keras.Variable(np.zeros(1, "float32"))
    optimizer = SGD(1.0, **kept)
    for _ in range(4):
        optimizer.apply([ops.ones(1)], [variable])
    (end,) = ops.convert_to_numpy(variable)
    assert end == pytest.approx(-1 - (0.9 + 0.5))


def tiny_model():
    return keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(8), keras.layers.Dense(3)]
    )


def batch():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, 6)).astype("float32")
    return x, rng.normal(size=(16, 3)).astype("float32")


@pytest.mark.parametrize("kind", [SGD, LAMB])
def test_loss_scaling_changes_nothing(kind):
    def end(wrap):
        keras.utils.set_random_seed(0)
        model = tiny_model()
        model.compile(wrap(kind(0.1, weight_decay=0.1)), "mse")
        model.fit(*batch(), epochs=3, verbose=0, shuffle=False)
        return [ops.convert_to_numpy(v) for v in model.weights]

    assert_close(end(keras.optimizers.LossScaleOptimizer), end(lambda o: o))


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(
            dropping(0.05),
            momentum=0.9,
            nesterov=True,
            weight_decay=0.01,
            exclude_names=["bias"],
        ),
        LAMB(0.05, beta_1=0.8, epsilon=1e-5, exclude_rank=0, use_ema=True),
    ],
    ids=["SGD", "LAMB"],
)
def test_saved_training_goes_on_alike(optimizer, tmp_path):
    model = tiny_model()
    kind = type(optimizer)
    model.compile(kind.from_config(optimizer.get_config()), "mse")
    model.fit(*batch(), epochs=2, verbose=0, shuffle=False)
    model.save(tmp_path / "model.keras")
    other = keras.saving.load_model(tmp_path / "model.keras")
    assert type(other.optimizer) is kind
    assert other.optimizer.get_config() == model.optimizer.get_config()
    for net in (model, other):
        net.fit(*batch(), epochs=2, verbose=0, shuffle=False)
    for a, b in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(a), ops.convert_to_numpy(b)
        )


# Wrong arguments


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (SGD, {"momentum": 1.0}, "`momentum` must be at least 0 and below 1"),
        (SGD, {"momentum": -0.1}, "`momentum` must be at least 0"),
        (SGD, {"dampening": 2}, "`dampening` must be at least 0"),
        (SGD, {"nesterov": True}, "`nesterov` needs a momentum"),
        (
            SGD,
            {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
            "`nesterov` needs a momentum and no dampening",
        ),
        (SGD, {"weight_decay": -1}, "`weight_decay` must be 0 or a positive"),
        (SGD, {"exclude_names": "bias"}, "must be a list of regular expr"),
        (LAMB, {"beta_1": 1}, "`beta_1` must be"),
        (LAMB, {"beta_2": 1.5}, "`beta_2` must be"),
        (LAMB, {"epsilon": -1e-8}, "`epsilon` must be"),
        (LAMB, {"weight_decay": float("nan")}, "`weight_decay` must be"),
    ],
)
def test_wrong_arguments(kind, options, words):
    with pytest.raises(ValueError, match=words):
        kind(**options)
