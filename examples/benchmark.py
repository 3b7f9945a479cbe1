"""Measures keras_resnext against timm and stock Keras layers, in one run.

Every contestant lives in a process of its own, built and warmed up once, and
is asked in turn for one sample of each task, round after round, so that a
machine that drifts drifts for all of them. Medians and spreads are printed,
with the ratio to timm. Peak memory is that of a fresh process.

    python examples/benchmark.py                     # what is installed
    python examples/benchmark.py --rounds 3 --batches 32
    python examples/benchmark.py --contestants timm tensorflow

Needs timm (`pip install timm`) for the comparison with timm.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

# Who takes part: the library, and the Keras backend if it has one.
CONTESTANTS = {
    "timm": ("timm", "torch"),
    "tensorflow": ("keras_resnext", "tensorflow"),
    "jax": ("keras_resnext", "jax"),
    "torch": ("keras_resnext", "torch"),
    "stock-tensorflow": ("stock", "tensorflow"),
    "stock-jax": ("stock", "jax"),
    "stock-torch": ("stock", "torch"),
}
DEFAULTS = ("timm", "tensorflow", "jax", "torch", "stock-tensorflow")
SAMPLE_SECONDS = 1.0  # a sample repeats a call until it has taken this long
SLOW_SECONDS = 10.0  # a call slower than this is its own only sample


def main() -> int:
    arguments = parse()
    if arguments.worker:
        return work(*CONTESTANTS[arguments.worker], arguments)
    missing = [name for name in arguments.contestants if not runs_here(name)]
    names = [name for name in arguments.contestants if name not in missing]
    if not names:
        print("None of the contestants is installed.", file=sys.stderr)
        return 2
    if missing:
        print(f"Not installed, left out: {', '.join(missing)}")
    print(f"{hardware()}, {arguments.threads} threads, {arguments.model}\n")

    results: list[dict[str, Any]] = []
    for dtype in arguments.dtypes:
        for kind, batches in (
            ("predict", arguments.batches),
            ("train", arguments.train_batches),
        ):
            if kind in arguments.tasks:
                results += compare(names, kind, batches, dtype, arguments)
    if "memory" in arguments.tasks:
        results += compare(names, "memory", (16,), "float32", arguments)

    report = {
        "hardware": hardware(),
        "threads": arguments.threads,
        "model": arguments.model,
        "versions": versions(),
        "results": results,
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")
        print(f"Written to {arguments.json}")
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--model", default="resnext50_32x4d", help="name of a variant")
    add(
        "--contestants",
        nargs="+",
        choices=CONTESTANTS,
        default=DEFAULTS,
        help="backends of keras_resnext, of stock Keras layers, and timm",
    )
    add(
        "--tasks",
        nargs="+",
        choices=("predict", "train", "memory"),
        default=("predict", "train", "memory"),
        help="what to measure",
    )
    add(
        "--dtypes",
        nargs="+",
        choices=("float32", "bfloat16"),
        default=("float32", "bfloat16"),
        help="precision: float32, or mixed bfloat16",
    )
    add("--batches", nargs="+", type=int, default=(1, 8, 32), help="to predict")
    add("--train-batches", nargs="+", type=int, default=(8,), help="to train")
    add("--rounds", type=int, default=5, help="samples of each figure")
    add("--threads", type=int, default=os.cpu_count(), help="of everyone")
    add("--size", type=int, default=224, help="height and width of pictures")
    add("--json", type=pathlib.Path, help="file for all the figures")
    add("--worker", choices=CONTESTANTS, help=argparse.SUPPRESS)
    return parser.parse_args()


def compare(
    names: list[str],
    kind: str,
    batches: tuple[int, ...],
    dtype: str,
    arguments: argparse.Namespace,
) -> list[dict[str, Any]]:
    """Measures one kind of task for everyone, in turns, and prints tables."""
    if dtype != "float32":  # it changes nothing for the better there
        names = [name for name in names if not name.startswith("stock")]
    workers = {name: Worker(name, arguments) for name in names}
    try:
        return [
            take_turns(
                workers,
                {"kind": kind, "batch": batch, "dtype": dtype},
                1 if kind == "memory" else arguments.rounds,
            )
            for batch in batches
        ]
    finally:
        for worker in workers.values():
            worker.close()


def take_turns(
    workers: dict[str, "Worker"], task: dict[str, Any], rounds: int
) -> dict[str, Any]:
    """Asks every worker for one sample a round, and prints a table."""
    samples: dict[str, list[float]] = {name: [] for name in workers}
    for turn in range(rounds):
        for name, worker in workers.items():
            say(f"  {task}, round {turn + 1} of {rounds}: {name}")
            if not turn or samples[name][0] * SLOW_SECONDS > task["batch"]:
                samples[name].append(worker.ask(task))
    say("")
    medians = {name: statistics.median(s) for name, s in samples.items()}
    unit = "GB" if task["kind"] == "memory" else "img/s"
    title = f"{task['kind']}, batch {task['batch']}, {task['dtype']}"
    print(f"{title:<30} {'median ' + unit:>13} {'min to max':>18}  of timm")
    for name, values in samples.items():
        spread = f"{min(values):.2f} to {max(values):.2f}"
        ratio = ""
        if "timm" in medians:
            ratio = f"{medians[name] / medians['timm']:7.2f}x"
        label = "timm, eager, channels_last"
        if name != "timm":
            library, backend = CONTESTANTS[name]
            label = f"{library} on {backend}".replace("stock", "stock Keras")
        print(f"  {label:<28} {medians[name]:13.2f} {spread:>18} {ratio}")
    print(flush=True)
    return {**task, "unit": unit, "samples": samples, "medians": medians}


class Worker:
    """A contestant's process, which measures when asked to."""

    def __init__(self, name: str, arguments: argparse.Namespace) -> None:
        self.name = name
        environment = {
            **os.environ,
            "KERAS_BACKEND": CONTESTANTS[name][1],
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "OMP_NUM_THREADS": str(arguments.threads),
        }
        command = [sys.executable, __file__, "--worker", name]
        for option in ("model", "threads", "size"):
            command += [f"--{option}", str(getattr(arguments, option))]
        self.process = subprocess.Popen(
            command,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def ask(self, task: dict[str, Any]) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            _, errors = self.process.communicate()
            raise SystemExit(f"{self.name} failed at {task}:\n{errors[-2000:]}")
        return float(answer)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def work(library: str, backend: str, arguments: argparse.Namespace) -> int:
    """A worker: reads tasks, writes figures. All else goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    limit_threads(backend, arguments.threads)
    prepare = prepare_timm if library == "timm" else prepare_keras
    prepared: dict[int, tuple[Callable[[], Any], float]] = {}
    for line in sys.stdin:
        task = json.loads(line)
        batch = task["batch"]
        if batch not in prepared:
            step = prepare(library, arguments, **task)
            step()
            seconds = duration(step)
            if seconds < SLOW_SECONDS:
                seconds = min(duration(step) for _ in range(2))
            prepared[batch] = step, seconds
        step, seconds = prepared[batch]
        if task["kind"] == "memory":
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            figure = peak * (1 if sys.platform == "darwin" else 1024) / 1e9
        else:
            if seconds < SLOW_SECONDS:
                calls = max(1, round(SAMPLE_SECONDS / seconds))
                start = time.perf_counter()
                for _ in range(calls):
                    step()
                seconds = (time.perf_counter() - start) / calls
            figure = batch / seconds
        print(figure, file=answers, flush=True)
    return 0


def duration(step: Callable[[], Any]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def limit_threads(backend: str, threads: int) -> None:
    if backend == "torch":
        import torch

        torch.set_num_threads(threads)
    elif backend == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)


def prepare_timm(
    library: str,
    arguments: argparse.Namespace,
    kind: str,
    batch: int,
    dtype: str,
) -> Callable[[], Any]:
    """Eager PyTorch, channels_last, as timm's own benchmark runs on a CPU."""
    import timm
    import torch

    shape = (batch, 3, arguments.size, arguments.size)
    format_ = torch.channels_last
    model = timm.create_model(arguments.model).to(memory_format=format_)
    x = torch.rand(shape).to(memory_format=format_)
    y = torch.arange(batch) % 1000
    low = torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16")

    def predict() -> Any:
        with torch.inference_mode(), low:
            return model(x).float().softmax(-1).numpy()

    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)

    def train() -> float:
        optimizer.zero_grad()
        with low:
            loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return float(loss)

    model.train(kind != "predict")
    return predict if kind == "predict" else train


def prepare_keras(
    library: str,
    arguments: argparse.Namespace,
    kind: str,
    batch: int,
    dtype: str,
) -> Callable[[], Any]:
    """`predict_on_batch` and `train_on_batch` of a compiled model."""
    import keras
    import numpy as np

    import keras_resnext

    if dtype == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    size = arguments.size
    model = keras_resnext.get_model(
        arguments.model, weights=None, input_shape=(size, size, 3)
    )
    if library == "stock":
        model = keras.models.clone_model(model, clone_function=stock_layer)
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        "sparse_categorical_crossentropy",
    )
    x = np.random.default_rng(0).random((batch, size, size, 3), "float32")
    y = np.arange(batch) % 1000
    if kind == "predict":
        return lambda: model.predict_on_batch(x)
    return lambda: model.train_on_batch(x, y)


def stock_layer(layer: Any) -> Any:
    """The layer that Keras itself has for one of ours."""
    import keras

    import keras_resnext

    config = layer.get_config()
    if isinstance(layer, keras_resnext.layers.Conv2D):
        return keras.layers.Conv2D.from_config({**config, "padding": "same"})
    if isinstance(layer, keras_resnext.layers.MaxPooling2D):
        return keras.layers.MaxPooling2D.from_config(
            {**config, "padding": "same"}
        )
    if isinstance(layer, keras_resnext.layers.BatchNormalization):
        activation = keras.layers.Activation(config.pop("activation"))
        stock = keras.layers.BatchNormalization.from_config(config)
        return keras.Sequential([stock, activation], name=layer.name)
    return layer.__class__.from_config(config)


def runs_here(name: str) -> bool:
    library, backend = CONTESTANTS[name]
    needed = (backend, "timm") if library == "timm" else (backend,)
    return all(importlib.util.find_spec(module) for module in needed)


def hardware() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [li.partition(":")[2] for li in lines if "model name" in li]
    return models[0].strip() if models else platform.machine()


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("keras", "tensorflow", "tensorflow-cpu", "jax", "torch"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def say(text: str) -> None:
    """One line of progress on a terminal, nothing in a file."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
