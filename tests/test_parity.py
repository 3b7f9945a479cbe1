"""Parity with timm and torchvision, from the same checkpoints."""

import gc

import keras
import numpy as np
import pytest
from autodiff import gradients
from keras import ops
from torch_helpers import import_torchvision
from torch_helpers import randomize

import keras_resnext
from keras_resnext import VARIANTS
from keras_resnext import FixedCardinality
from keras_resnext import ResNeXtConfig
from keras_resnext.weights import convert
from keras_resnext.weights.checkpoint import variables_of

pytestmark = pytest.mark.parity

# One net of each kind of block, attention and stem.
KINDS = (
    "resnext50_32x4d",
    "seresnext26d_32x4d",
    "eca_resnext26ts",
    "gcresnext26ts",
    "bat_resnext26ts",
    "legacy_seresnext26_32x4d",
    "skresnext50_32x4d",
    "cspresnext50",
)
# Which timm has no net of: of three stages, and of two templates.
OURS = tuple(
    name
    for name, config in VARIANTS.items()
    if len(config.depths) == 3 or name.endswith(("152_32x4d", "32x48d"))
)
OTHERS = tuple(name for name in VARIANTS if name not in KINDS + OURS)
TORCHVISIONS = ("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d")


@pytest.fixture(scope="module")
def timm():
    import_torchvision()
    return pytest.importorskip("timm")


def save(net, path):
    import safetensors.torch
    import torch

    if path.suffix == ".safetensors":
        safetensors.torch.save_file(net.state_dict(), path)
    else:
        torch.save(net.state_dict(), path)
    return path


def pixels(batch, height, width):
    random = np.random.default_rng(height)
    return random.normal(size=(batch, height, width, 3)).astype("float32")


def reference(net, x):
    import torch

    with torch.no_grad():
        y = net(torch.tensor(x.transpose(0, 3, 1, 2)))
    return [maps.numpy() for maps in y] if isinstance(y, list) else y.numpy()


def build(variant, path, **options):
    first = keras.config.image_data_format() == "channels_first"
    return keras_resnext.get_model(
        variant,
        weights=path,
        input_shape=(3, None, None) if first else (None, None, 3),
        classifier_activation=None,
        **options,
    )


def sizes(variant):
    """Return the default size, a smaller one and last an odd one."""
    if variant == "bat_resnext26ts":  # whose blocks must divide them
        return (256, 256), (256, 512)
    default = VARIANTS[variant].default_size
    return (default, default), (160, 160), (225, 193)


def assert_close(found, expected):
    """Compare images of two axis orders, or logits."""
    found, expected = ops.convert_to_numpy(found), np.asarray(expected)
    last = keras.config.image_data_format() == "channels_last"
    if expected.ndim == 4 and last:
        expected = expected.transpose(0, 2, 3, 1)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def assert_same_logits(model, net, size):
    x = pixels(1, *size)
    expected = reference(net, x)
    assert_close(model(axes(x, model)), expected)


def axes(x, model):
    return x.transpose(0, 3, 1, 2) if model.input_shape[1] == 3 else x


def assert_same_features(model, net, variant, size, timm, **options):
    """Compare every stage with the outputs of timm's `features_only`."""
    theirs = timm.create_model(
        variant, features_only=True, feature_cls="getter", **options
    )
    theirs.model.load_state_dict(net.state_dict(), strict=False)
    x = pixels(1, *size)
    expected = reference(theirs.eval(), x)[-4:]
    found = keras_resnext.feature_pyramid(model)(axes(x, model))
    assert list(found) == ["P2", "P3", "P4", "P5"]
    for ours, features in zip(found.values(), expected, strict=True):
        assert_close(ours, features)


def assert_goes_back(model, net, other):
    """Compare a model's state dict with the one that it came from."""
    state_dict = keras_resnext.to_torch_state_dict(model)
    other.load_state_dict(state_dict, strict=True)
    for name, tensor in net.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert tensor.equal(state_dict[name]), name


@pytest.mark.parametrize(
    ("data_format", "suffix"),
    [
        ("channels_last", ".pth"),
        pytest.param("channels_first", ".safetensors", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("variant", KINDS)
def test_each_kind_equals_timms(timm, variant, data_format, suffix, tmp_path):
    keras.config.set_image_data_format(data_format)
    net = randomize(timm.create_model(variant))
    model = build(variant, save(net, tmp_path / f"weights{suffix}"))
    size = (256, 256) if variant == "bat_resnext26ts" else (97, 65)
    assert_same_logits(model, net, size)
    assert_same_features(model, net, variant, size, timm)
    assert_goes_back(model, net, timm.create_model(variant))


@pytest.mark.slow
@pytest.mark.parametrize("variant", [*KINDS, *OTHERS])
def test_every_net_equals_timms(timm, variant, tmp_path):
    net = randomize(timm.create_model(variant))
    path = save(net, tmp_path / "weights.safetensors")
    model = build(variant, path)
    path.unlink()
    for size in sizes(variant):
        assert_same_logits(model, net, size)
    assert_same_features(model, net, variant, size, timm)
    assert_goes_back(model, net, timm.create_model(variant))
    del model, net
    gc.collect()


def test_every_variant_of_timms_is_compared(timm):
    names = timm.list_models("*resnext*")
    assert sorted(names) == sorted(KINDS + OTHERS)


@pytest.mark.parametrize(
    "output_stride", [8, pytest.param(16, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "variant",
    ["seresnext26d_32x4d", "skresnext50_32x4d", "resnext26ts", "cspresnext50"],
)
def test_dilated_nets_equal_timms(timm, variant, output_stride, tmp_path):
    options = {"output_stride": output_stride}
    net = randomize(timm.create_model(variant, **options))
    path = save(net, tmp_path / "weights.pth")
    model = build(variant, path, **options)
    assert_same_features(model, net, variant, (97, 65), timm, **options)


@pytest.mark.parametrize(
    "variant",
    [TORCHVISIONS[0]]
    + [pytest.param(name, marks=pytest.mark.slow) for name in TORCHVISIONS[1:]],
)
def test_torchvisions_state_dict_loads_and_goes_back(variant, tmp_path):
    create = getattr(import_torchvision().models, variant)
    net = randomize(create(weights=None))
    path = save(net, tmp_path / f"{variant}.pth")
    model = build(variant, path)
    assert_same_logits(model, net, (64, 64))
    assert_goes_back(model, net, create(weights=None))


def by_timms_names(model, arrays):
    """Arrays in the order of `model.weights`, under timm's names and axes."""
    keys = {id(variable): key for key, variable in variables_of(model)}
    named = {
        keys[id(variable)]: array
        for variable, array in zip(model.weights, arrays, strict=True)
    }
    names = [layer.name for layer in model.layers]
    return convert.from_keras(named, names, "timm_resnet")


def test_a_training_step_equals_torchs(timm, tmp_path):
    # In one start of five, rounding lifts a value over zero, and with its
    # ReLU's slope some gradients are others. A fault would show in every one.
    differences = []
    for start in range(4):
        differences.append(difference_of_a_training_step(timm, tmp_path, start))
        if differences[-1] < 1e-4:
            return
    pytest.fail(f"Each start differs: {differences}")


def difference_of_a_training_step(timm, tmp_path, start):
    """Return the largest difference as a share of its tensor's largest."""
    import torch

    torch.manual_seed(start)
    net = timm.models.resnet.ResNet(
        timm.models.resnet.Bottleneck,
        [1, 1, 1, 1],
        num_classes=10,
        cardinality=32,
        base_width=4,
    )
    randomize(net).train()
    config = ResNeXtConfig(
        depths=(1, 1, 1, 1), grouping=FixedCardinality(32, 4)
    )
    model = keras_resnext.ResNeXt(
        config,
        weights=save(net, tmp_path / "shallow.pth"),
        input_shape=(48, 48, 3),
        classes=10,
        classifier_activation=None,
    )
    x, labels = pixels(4, 48, 48), np.arange(4)

    def loss(*trainable):
        moving = [v.value for v in model.non_trainable_variables]
        logits, moving = model.stateless_call(
            list(trainable), moving, x, training=True
        )
        values = ops.sparse_categorical_crossentropy(
            labels, logits, from_logits=True
        )
        return (ops.mean(values), *moving)

    trainable = [ops.convert_to_numpy(v) for v in model.trainable_variables]
    (value, *moving), slopes = gradients(loss, *trainable)

    logits = net(torch.tensor(x.transpose(0, 3, 1, 2)))
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(labels))
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-5)

    found = iter(slopes), iter(moving)
    arrays = [
        next(found[0] if variable.trainable else found[1])
        for variable in model.weights
    ]
    ours = by_timms_names(model, arrays)
    theirs = {name: p.grad for name, p in net.named_parameters()}
    theirs |= {
        name: buffer
        for name, buffer in net.named_buffers()
        if "num_batches" not in name
    }
    assert set(ours) == set(theirs)
    theirs = {name: tensor.detach().numpy() for name, tensor in theirs.items()}
    return max(
        np.abs(ours[name] - array).max() / np.abs(array).max()
        for name, array in theirs.items()
    )
