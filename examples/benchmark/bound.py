"""Work of processes that are bound to cores: training, and reading images.

Nothing here imports a framework before a process is bound: they count its
cores when they start.
"""

import collections
import contextlib
import dataclasses
import importlib.resources
import json
import multiprocessing
import os
import pathlib
import shutil
import socket
import time
import warnings
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any
from typing import NamedTuple

import numpy as np

from examples.benchmark import machine
from examples.benchmark.candidates import Candidate
from examples.benchmark.setting import Setting

STEPS = 4  # of training, for a figure
IMAGES, READ_BATCH = 512, 64  # of reading, for a figure
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}


class Training(NamedTuple):
    """Training to measure, in one of its processes."""

    candidate: Candidate
    setting: Setting
    batch: int
    processes: int
    rounds: int


def train(
    candidate: Candidate,
    setting: Setting,
    cores: Sequence[Sequence[int]],
    batch: int,
    rounds: int,
) -> list[float]:
    """Measure training by a process for each group of cores.

    Args:
        candidate: Candidate, which trains.
        setting: Setting; each process has as many threads as cores.
        cores: The cores of each process.
        batch: Images of a process in a step.
        rounds: Number of figures.

    Returns:
        Images per second of all processes together, in each round.
    """
    ports = [_free_port() for _ in cores]
    pools, tasks = [], []
    with contextlib.ExitStack() as stack:
        for rank, group in enumerate(cores):
            share = dataclasses.replace(setting, threads=len(group))
            variables = share.environment(candidate.backend)
            if len(cores) > 1:
                variables |= _cluster(ports, rank)
            pools.append(stack.enter_context(_process(group, variables)))
            training = Training(candidate, setting, batch, len(cores), rounds)
            tasks.append(pools[-1].submit(_train, training))
        figures = [task.result() for task in tasks]
        for pool in pools:
            pool.shutdown(wait=False)  # JAX' processes end at the same time
    return figures[0]


def read(
    source: str, folder: pathlib.Path, cores: Sequence[int], rounds: int
) -> list[float]:
    """Measure the training pipeline of ImageNet's size.

    Args:
        source: `"folder"` or `"tfds"`.
        folder: Folder of `write_photographs`.
        cores: The cores of the process.
        rounds: Number of figures.

    Returns:
        Images per second in each round.
    """
    with _process(cores, QUIET) as pool:
        return pool.submit(_read, source, folder, rounds).result()


def write_photographs(folder: pathlib.Path) -> None:
    """Write JPEG files of ImageNet's usual size, and a dataset of TFDS.

    They are copies of the two photographs of scikit-learn.
    """
    from examples.benchmark import pipeline

    photos = importlib.resources.files("sklearn.datasets") / "images"
    with importlib.resources.as_file(photos) as path:
        (folder / "originals").mkdir(parents=True)
        files = pipeline.write(path, folder / "originals")
    for i in range(IMAGES):
        label = folder / "folder" / "train" / str(i % len(files))
        label.mkdir(parents=True, exist_ok=True)
        shutil.copy(files[i % len(files)], label / f"{i}.jpg")
    test = folder / "folder" / "test"
    for i, file in enumerate(files):
        (test / str(i)).mkdir(parents=True)
        shutil.copy(file, test / str(i) / "0.jpg")
    with _process(sorted(machine.processors()), QUIET) as pool:
        pool.submit(_write_tfds, folder).result()


@contextlib.contextmanager
def _process(
    cores: Sequence[int], variables: dict[str, str]
) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of one process, which is bound before it imports."""
    context = multiprocessing.get_context("spawn")
    # The process inherits the variables when it starts, at the first task.
    with ProcessPoolExecutor(1, context, _bind, (cores, variables)) as pool:
        yield pool


def _bind(cores: Sequence[int], variables: dict[str, str]) -> None:
    os.environ.update(variables)
    warnings.simplefilter("ignore")  # they would disturb the progress bar
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _cluster(ports: list[int], rank: int) -> dict[str, str]:
    """Return the variables by which each framework's processes meet."""
    hosts = [f"127.0.0.1:{port}" for port in ports]
    task = {"type": "worker", "index": rank}
    prefix = "KERAS_DISTRIBUTION"
    return {
        "TF_CONFIG": json.dumps({"cluster": {"worker": hosts}, "task": task}),
        f"{prefix}_JOB_ADDRESSES": ",".join(hosts),
        f"{prefix}_NUM_PROCESSES": str(len(hosts)),
        f"{prefix}_PROCESS_ID": str(rank),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(ports[0]),
        "WORLD_SIZE": str(len(hosts)),
        "RANK": str(rank),
    }


def _train(training: Training) -> list[float]:
    run = _torch if training.candidate.backend == "torch" else _keras
    return _rates(STEPS * training.batch * training.processes, run(training))


def _rates(images: int, ends: list[float]) -> list[float]:
    """Return images per second of each round after the first, by their ends.

    The first round is not measured: it also compiles.
    """
    return [float(rate) for rate in images / np.diff(ends)]


def _keras(training: Training) -> list[float]:
    """Fit under the strategy of the environment, and time each round's end."""
    import keras
    import tensorflow as tf

    import keras_resnext

    _, setting, batch, _, rounds = training
    shape = (setting.size, setting.size, 3)
    strategy = keras_resnext.training.strategy.start("auto")
    with strategy.scope():
        model = keras_resnext.get_model(
            setting.model, weights=None, input_shape=shape
        )
        model.compile(
            keras.optimizers.SGD(0.1, momentum=0.9),
            "sparse_categorical_crossentropy",
        )
    images = np.random.default_rng(0).random((batch, *shape), "float32")
    pairs = tf.data.Dataset.from_tensors((images, np.arange(batch) % 1000))
    ends: list[float] = []
    clock = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: ends.append(time.perf_counter())
    )
    model.fit(
        strategy.distribute(pairs.repeat()),
        epochs=rounds + 1,
        steps_per_epoch=STEPS,
        callbacks=[clock],
        shuffle=False,
        verbose=0,
    )
    return ends


def _torch(training: Training) -> list[float]:
    """Train in a loop, distributed by PyTorch, and time each round's end."""
    import torch

    candidate, setting, batch, processes, rounds = training
    module: Any
    random = np.random.default_rng(0)
    shape = (batch, setting.size, setting.size, 3)
    x = torch.from_numpy(random.random(shape, "float32"))
    y = torch.arange(batch) % 1000
    options = {}
    if candidate.runs == "timm":
        import timm

        module = timm.create_model(setting.model).train()
        module = module.to(memory_format=torch.channels_last)
        # A view of channels last in memory, as timm's own batches are.
        x = x.permute(0, 3, 1, 2)
    else:
        import keras_resnext

        module = keras_resnext.get_model(
            setting.model,
            weights=None,
            input_shape=shape[1:],
            classifier_activation=None,
        )
        options = {"training": True}
    optimizer = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9)
    if processes > 1:
        torch.distributed.init_process_group("gloo")
        module = torch.nn.parallel.DistributedDataParallel(module)
    ends = []
    for _ in range(rounds + 1):
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(module(x, **options), y)
            loss.backward()
            optimizer.step()
        ends.append(time.perf_counter())
    return ends


def _read(source: str, folder: pathlib.Path, rounds: int) -> list[float]:
    from keras_resnext import data
    from keras_resnext.training import recipes

    recipe = recipes.get("torchvision_v1")
    if source == "folder":
        dataset = data.load_dataset(folder / "folder")
    else:
        dataset = data.load_dataset("photographs", str(folder / "tfds"))
    batches = data.train_batches(dataset, recipe, READ_BATCH, epoch=0)

    ends = []
    for _ in range(rounds + 1):
        collections.deque(batches, maxlen=0)  # which takes them all
        ends.append(time.perf_counter())
    return _rates(len(batches) * READ_BATCH, ends)


def _write_tfds(folder: pathlib.Path) -> None:
    import tensorflow_datasets as tfds

    class Photographs(tfds.core.GeneratorBasedBuilder):
        """The images of the folder."""

        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> tfds.core.DatasetInfo:
            features = {
                "image": tfds.features.Image(encoding_format="jpeg"),
                "label": tfds.features.ClassLabel(num_classes=2),
            }
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(features),
                supervised_keys=("image", "label"),
            )

        def _split_generators(self, dl_manager: object) -> dict:
            return {
                split: self._generate_examples(split)
                for split in ("train", "test")
            }

        def _generate_examples(self, split: str) -> Iterator:
            for file in (folder / "folder" / split).rglob("*.jpg"):
                yield (
                    str(file),
                    {
                        "image": str(file),
                        "label": int(file.parent.name),
                    },
                )

    tfds.disable_progress_bar()
    Photographs(data_dir=str(folder / "tfds")).download_and_prepare()
