"""Checkpoints of training loops: loaded as by their own library, or refused.

Each row saves what a library or a training loop saves, for one small model
with two sets of weights, the trained and the averaged ones, and names which
set is to be loaded, or words of the refusal.
"""

import argparse
import collections
import datetime
import functools
import gzip
import logging
import pathlib
import random
import sys
import types

import keras
import numpy as np
import pytest
import tinynet
from torch_helpers import import_torchvision

import keras_resnext
from keras_resnext import FixedCardinality
from keras_resnext import ResNeXtConfig
from keras_resnext.weights.files import CheckpointError

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.once,
    pytest.mark.parity,
    # What torch says of its own features, old and older.
    pytest.mark.filterwarnings("ignore:`torch.jit"),
    pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor"),
]

CONFIG = ResNeXtConfig(
    depths=(1, 1), grouping=FixedCardinality(2, 16), out_channels=(16, 32)
)
TRAINED, AVERAGED = 1, 2  # seeds


@functools.cache
def model():
    return tinynet.build(CONFIG)


class Net(torch.nn.Module):
    """A module of given parameters and buffers."""

    def __init__(self, state):
        super().__init__()
        for name, value in state.items():
            *path, last = name.split(".")
            module = self
            for part in path:
                if part not in module._modules:
                    module.add_module(part, torch.nn.Module())
                module = module._modules[part]
            if last.startswith(("running", "num")):
                module.register_buffer(last, value)
            else:
                module.register_parameter(last, torch.nn.Parameter(value))

    def forward(self, x):
        return x.mean() + self.fc.bias


def state(seed=TRAINED, layout="timm_resnet", prefix=""):
    """Return a state dict, as of a module within another one."""
    found = {}
    for name, value in tinynet.checkpoint(model(), seed, layout).items():
        found[prefix + name] = torch.from_numpy(value)
        if name.endswith("running_var"):
            counter = name.replace("running_var", "num_batches_tracked")
            found[prefix + counter] = torch.tensor(7)
    return found


def net(seed=TRAINED):
    return Net(state(seed))


def wrapped(wrap, seed=TRAINED):
    return wrap(net(seed)).state_dict()


def averaged_model():
    """Torchvision's ExponentialMovingAverage is of this class."""
    average = torch.optim.swa_utils.AveragedModel(net(AVERAGED))
    average.update_parameters(net(AVERAGED))
    return average.state_dict()


def trained_optimizer(model):
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model(torch.ones(1)).sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [30, 60])
    return {
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": scheduler.state_dict(),
        "epoch": 3,
    }


ARGS = argparse.Namespace(
    lr=0.1, data=pathlib.PurePosixPath("d"), mean=(0.5,), scale=np.float32(2)
)


def timm_saved(path, zipped, args, averaged):
    """Save with timm's CheckpointSaver itself."""
    import_torchvision()
    utils = pytest.importorskip("timm.utils")
    model = net()
    saver = utils.CheckpointSaver(
        model,
        torch.optim.SGD(model.parameters(), 0.1),
        args=args,
        model_ema=utils.ModelEmaV3(net(AVERAGED)) if averaged else None,
        checkpoint_dir=str(path.parent),
    )
    saver._save(path, 3, np.float64(77.6))


FOREIGN = set()


@pytest.fixture(autouse=True)
def _forget_foreign_modules():
    yield
    while FOREIGN:
        del sys.modules[FOREIGN.pop()]


def foreign(full_name, base=object, **attributes):
    """Return an object of a class that is missing when the file is read."""
    module, _, name = full_name.rpartition(".")
    cls = type(name, (base,), {"__module__": module})
    while module:
        sys.modules.setdefault(module, types.ModuleType(module))
        FOREIGN.add(module)
        module = module.rpartition(".")[0]
    setattr(sys.modules[cls.__module__], name, cls)
    made = cls()
    made.__dict__.update(attributes)
    return made


def dictionary(full_name, **items):
    made = foreign(full_name, dict)
    made.update(items)
    return made


def lightning(**names):
    """Return what a Trainer saves; arguments are prefixes and their seeds."""
    weights = {}
    for prefix, seed in names.items():
        weights |= state(seed, prefix=prefix.replace("/", ".") + ".")
    return {
        "epoch": 3,
        "global_step": 100,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": weights,
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"a": 1}}},
        "callbacks": {
            "ModelCheckpoint{'monitor': None}": {
                "best_model_score": torch.tensor(0.7),
                "dirpath": "runs",
            }
        },
        "optimizer_states": [trained_optimizer(net())["optimizer"]],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": dictionary(
            "lightning.fabric.utilities.data.AttributeDict", lr=0.1
        ),
    }


def beside():
    """Return what training loops keep beside weights."""
    itself = argparse.Namespace()
    itself.itself = itself
    return {
        "score": np.float64(1),
        "curve": np.arange(3.0),
        "path": pathlib.PurePosixPath("runs"),
        "seen": collections.Counter("aab"),
        "by": collections.defaultdict(list, a=[1]),
        "dtype": torch.float16,
        "layout": torch.strided,
        "device": torch.device("cpu"),
        "size": torch.Size([1, 2]),
        "set": {1, 2},
        "frozen": frozenset({1}),
        "time": datetime.datetime(2026, 1, 1),
        "partial": functools.partial(print, end=""),
        "type": torch.nn.Conv2d,
        "complex": 1j,
        "bytes": bytearray(b"ab"),
        "random": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "itself": itself,
        "odd": foreign("hydra.conf.Run", lr=[0.1]),
        "sparse": torch.eye(2).to_sparse(),
        "meta": torch.empty(2, device="meta"),
        "conj": torch.zeros(3, dtype=torch.complex64).conj(),
        "float8": torch.ones(2).to(torch.float8_e4m3fn),
    }


def odd_tensors():
    """Tensors that torch rebuilds in other ways."""
    found = state()
    for i, (name, value) in enumerate(list(found.items())):
        match i % 4 * value.is_floating_point():
            case 1:  # with its negative bit set
                part = torch.complex(torch.zeros_like(value), -value)
                found[name] = part.conj().imag
                assert found[name].is_neg()
            case 2:
                found[name] = torch.nn.Parameter(value)
                found[name].partitions = 3
            case 3:
                found[name] = value.clone()
                found[name].quantile = "of a tensor"
    return found


def flat():
    """All parameters as views of one buffer."""
    found = state()
    names = [n for n, value in found.items() if value.is_floating_point()]
    whole = torch.cat([found[n].flatten() for n in names])
    parts = whole.split([found[n].numel() for n in names])
    views = zip(names, parts, strict=True)
    return found | {n: part.view(found[n].shape) for n, part in views}


def with_one(replace):
    """Return a state dict with another object instead of one kernel."""
    found = state()
    found["fc.weight"] = replace(found["fc.weight"])
    return found


def quantized(value):
    return torch.quantize_per_tensor(value, 0.1, 0, torch.qint8)


EMA_STEPS = {"steps": torch.tensor(9)}
# Row: what is saved, and which weights or words are expected. "timm" marks
# those that timm's own loader finds in the file.
LOADED = {
    # timm
    "plain": (state, TRAINED, "timm"),
    "state_dict_ema": (
        lambda: {"state_dict": state(), "state_dict_ema": state(AVERAGED)},
        AVERAGED,
        "timm",
    ),
    "state_dict_ema of None": (
        lambda: {"state_dict": state(), "state_dict_ema": None, "args": ARGS},
        TRAINED,
        "timm",
    ),
    "DDP": (lambda: wrapped(torch.nn.DataParallel), TRAINED, "timm"),
    "DDP, then compiled": (
        lambda: wrapped(lambda n: torch.compile(torch.nn.DataParallel(n))),
        TRAINED,
        "timm",
    ),
    "FSDP and activation checkpoints": (
        lambda: {
            k.replace("layer1.0.", "layer1.0._checkpoint_wrapped_module."): v
            for k, v in state(prefix="_fsdp_wrapped_module.").items()
        },
        TRAINED,
    ),
    # torchvision
    "references": (
        lambda: {"model": state(), "args": ARGS, **trained_optimizer(net())},
        TRAINED,
        "timm",
    ),
    "references with model_ema": (
        lambda: {
            "model": state(),
            "model_ema": averaged_model(),
            "scaler": {"scale": 65536.0},
            "args": ARGS,
            **trained_optimizer(net()),
        },
        AVERAGED,
        "timm",
    ),
    # Lightning
    "Lightning, model.": (lambda: lightning(model=TRAINED), TRAINED),
    "Lightning, backbone.": (lambda: lightning(backbone=TRAINED), TRAINED),
    "Lightning, compiled": (
        lambda: lightning(**{"model/_orig_mod": TRAINED}),
        TRAINED,
    ),
    "Lightning, loss and metrics": (
        lambda: {
            **lightning(model=TRAINED),
            "state_dict": {
                **state(prefix="model."),
                "criterion.weight": torch.ones(5),
                "train_acc.correct": torch.zeros(5),
            },
        },
        TRAINED,
    ),
    "Lightning, WeightAveraging": (
        lambda: {
            **lightning(model=AVERAGED),
            "current_model_state": state(prefix="model."),
            "averaging_state": {"n_averaged": torch.tensor(9)},
        },
        AVERAGED,
    ),
    # SWA
    "AveragedModel": (averaged_model, AVERAGED),
    # OpenMMLab
    "mmengine": (
        lambda: {
            "meta": {"dataset_meta": {"classes": ("a",)}, "seed": 0},
            "state_dict": state(layout="mmpretrain"),
            "message_hub": {
                "log_scalars": collections.OrderedDict(
                    loss=foreign(
                        "mmengine.logging.history_buffer.HistoryBuffer",
                        _history=np.ones(3),
                    )
                )
            },
            "optimizer": trained_optimizer(net())["optimizer"],
        },
        TRAINED,
        "timm",
    ),
    "mmengine with EMAHook, which swaps": (
        lambda: {
            "meta": {},
            "state_dict": state(AVERAGED, "mmpretrain"),
            "ema_state_dict": {
                **state(TRAINED, "mmpretrain", "module."),
                **EMA_STEPS,
            },
        },
        AVERAGED,
        "timm",
    ),
    "mmcv, DDP": (
        lambda: {"meta": {}, "state_dict": state(1, "mmpretrain", "module.")},
        TRAINED,
        "timm",
    ),
    # Other libraries
    "BasicSR with params_ema": (
        lambda: {"params": state(), "params_ema": state(AVERAGED)},
        AVERAGED,
    ),
    "ClassyVision": (
        lambda: {"classy_state_dict": {"base_model": {"model": state()}}},
        TRAINED,
    ),
    "DeepSpeed's model states": (
        lambda: {"module": state(), "ds_config": {}, "global_steps": 3},
        TRAINED,
    ),
    "MosaicML's module within a model": (
        lambda: {"state": {"model": state(prefix="model.module.")}},
        TRAINED,
    ),
    "DiT's model and ema": (
        lambda: {"model": state(), "ema": state(AVERAGED), "args": ARGS},
        TRAINED,
        "timm",
    ),
    # Plain loops
    "model_state_dict": (
        lambda: {
            "model_state_dict": state(),
            "optimizer_state_dict": trained_optimizer(net())["optimizer"],
            "loss": torch.tensor(0.3),
        },
        TRAINED,
    ),
    "model_state_dict and ema_state_dict": (
        lambda: {
            "model_state_dict": state(),
            "ema_state_dict": state(AVERAGED),
        },
        AVERAGED,
    ),
    "net": (lambda: {"net": state(), "best": 0.7}, TRAINED),
    "defaultdict": (
        lambda: collections.defaultdict(list, model=state()),
        TRAINED,
        "timm",
    ),
    "EasyDict": (
        lambda: dictionary("easydict.EasyDict", model=state()),
        TRAINED,
    ),
    "all sorts beside": (lambda: {**beside(), "model": state()}, TRAINED),
    "a table of metrics beside": (
        lambda: {"metrics": {"confusion": torch.ones(5, 5)}, "best": state()},
        TRAINED,
    ),
    "parameters, views and bits": (odd_tensors, TRAINED),
    "views of one buffer": (flat, TRAINED, "timm"),
    "metric of the class torch.float64": (
        lambda: {"state_dict": state(), "acc": torch.tensor(0.5).double()},
        TRAINED,
        "timm",
    ),
}
REFUSED = {
    "whole module": (net, "a pickled object of 'test_training_checkpoints.N"),
    "whole modules": (
        lambda: {"epoch": 3, "model": net(), "ema": net()},
        "'model' (a pickled object of 'test_training_checkpoints.Net')",
    ),
    "averaged module beside a state dict": (
        lambda: {"model_ema": net(), "state_dict": state()},
        "choose another set of weights with weight_set: 'state_dict'",
    ),
    "list": (lambda: list(state().values()), "of type list"),
    "tensor": (lambda: torch.ones(3), "no state dict but a tensor"),
    "optimizer only": (
        lambda: trained_optimizer(net()),
        "no weights in its entries 'optimizer' (a dict without tensors)",
    ),
    "empty": (dict, "its state dict is empty"),
    "quantized": (lambda: with_one(quantized), "'fc.weight' as a quantized"),
    "sparse": (
        lambda: with_one(torch.Tensor.to_sparse),
        "'fc.weight' as a sparse tensor",
    ),
    "meta": (
        lambda: with_one(lambda v: v.to("meta")),
        "'fc.weight' as a tensor on the device 'meta'",
    ),
    "NumPy": (
        lambda: {k: v.numpy() for k, v in state().items()},
        "a NumPy array (save torch.from_numpy of it)",
    ),
    "integers": (
        lambda: with_one(lambda v: v.to(torch.int8)),
        "needs floating-point numbers",
    ),
    "complex": (
        lambda: with_one(lambda v: v.to(torch.complex64).conj()),
        "needs floating-point numbers",
    ),
    "teacher and student": (
        lambda: {"teacher": state(), "student": state()},
        "several sets of weights; choose one with weight_set: 'teacher', "
        "'student'",
    ),
    "MoCo": (
        lambda: {
            "state_dict": {
                **state(prefix="module.encoder_q."),
                **state(prefix="module.encoder_k."),
            }
        },
        "several models. Choose one with weight_set: 'encoder_k', "
        "'encoder_q'",
    ),
    "a head of its own": (
        lambda: {**state(prefix="backbone."), "head.w": torch.ones(9)},
        "other weights beside the model 'backbone': head.w.",
    ),
    "another model": (
        lambda: {"state_dict": {"a.weight": torch.ones(1, 2, 3, 3)}},
        "names match no known layout",
    ),
}  # fmt: skip


def in_turn(rows):
    """Yield each row in one of torch's two formats."""
    return pytest.mark.parametrize(
        ("name", "zipped"),
        [
            # Torch does not save float8 in the legacy format.
            (name, i % 2 == 0 or name == "all sorts beside")
            for i, name in enumerate(rows)
        ],
    )


@functools.cache
def expected(seed):
    return tinynet.random_values(model(), seed)


def fill():
    for variable in model().weights:
        variable.assign(keras.ops.full(variable.shape, 9.0))


def assert_loaded(path, seed, weight_set=None):
    fill()
    keras_resnext.load_checkpoint(model(), path, weight_set)
    tinynet.assert_values(model(), expected(seed))


def assert_refused(path, words):
    fill()
    before = tinynet.values(model())
    with pytest.raises(CheckpointError) as info:
        keras_resnext.load_checkpoint(model(), path)
    message = str(info.value)
    assert words in message
    assert message.endswith(".")
    assert "\n" not in message
    for false in ("download", "could run code"):
        assert false not in message
    tinynet.assert_values(model(), before)


def assert_as_timm(path, seed):
    """Compare what is expected with what timm's own loader returns."""
    import_torchvision()
    helpers = pytest.importorskip("timm.models._helpers")
    found = helpers.load_state_dict(str(path), weights_only=False)
    layout = "mmpretrain" if "backbone.conv1.weight" in found else "timm_resnet"
    for name, value in tinynet.checkpoint(model(), seed, layout).items():
        np.testing.assert_array_equal(found[name].numpy(), value)


def save(value, path, zipped):
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


@in_turn(LOADED)
def test_checkpoint_is_loaded(name, zipped, tmp_path):
    make, seed, *timm = LOADED[name]
    path = save(make(), tmp_path / "last.pth.tar", zipped)
    assert_loaded(path, seed)
    if timm:
        assert_as_timm(path, seed)


@in_turn(REFUSED)
def test_checkpoint_is_refused(name, zipped, tmp_path):
    make, words = REFUSED[name]
    assert_refused(save(make(), tmp_path / "last.ckpt", zipped), words)


@pytest.mark.parametrize(("args", "averaged"), [(ARGS, True), (None, False)])
def test_timm_saver(args, averaged, tmp_path):
    args = args and argparse.Namespace(model="resnext", **vars(args))
    path = tmp_path / "last.pth.tar"
    timm_saved(path, True, args, averaged)
    seed = AVERAGED if averaged else TRAINED
    assert_loaded(path, seed)
    assert_as_timm(path, seed)
    assert_loaded(path, TRAINED, "state_dict")


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(2, 2)

    def forward(self, x):
        return self.fc(x)


def test_programs_are_refused(tmp_path):
    path = tmp_path / "model.pt"
    inputs = (torch.ones(1, 2),)
    torch.jit.save(torch.jit.trace(Small(), inputs), path)
    assert_refused(path, "is a TorchScript archive")
    torch.export.save(torch.export.export(Small(), inputs), tmp_path / "m.pt2")
    assert_refused(tmp_path / "m.pt2", "is an exported program of PyTorch")
    path.write_bytes(gzip.compress(save(state(), path, True).read_bytes()))
    assert_refused(path, "is compressed by gzip")


def test_choice_of_weights(tmp_path, caplog):
    two = {"model": state(), "model_ema": averaged_model(), "args": ARGS}
    path = save(two, tmp_path / "last.pth", True)
    info = keras_resnext.inspect_checkpoint(path)
    assert info.weight_set == "model_ema"
    assert info.weight_sets == ("model", "model_ema")
    with caplog.at_level(logging.WARNING):
        assert_loaded(path, AVERAGED)
    (record,) = caplog.records
    assert "loaded 'model_ema' of the sets of weights 'model', 'model_ema'" in (
        record.getMessage()
    )
    caplog.clear()
    assert_loaded(path, TRAINED, "model")
    assert_loaded(path, AVERAGED, info.weight_set)
    assert not caplog.records
    with pytest.raises(CheckpointError, match="no weights named 'mode'"):
        keras_resnext.load_checkpoint(model(), path, "mode")


def test_choice_of_a_network(tmp_path):
    path = tmp_path / "last.ckpt"
    save(lightning(model=TRAINED, ema=AVERAGED), path, True)
    assert_refused(path, "several models. Choose one with weight_set")
    assert_loaded(path, TRAINED, "model")
    assert_loaded(path, AVERAGED, "state_dict/ema")
    assert keras_resnext.inspect_checkpoint(path, "ema").weight_set == (
        "state_dict/ema"
    )
    save(REFUSED["a head of its own"][0](), path, False)
    assert_loaded(path, TRAINED, "backbone")
    save({"teacher": state(), "student": state(AVERAGED)}, path, False)
    assert_loaded(path, AVERAGED, "student")
