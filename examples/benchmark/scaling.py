"""Measure how cost grows: with batches, image sizes, models and cores.

    python -m examples.benchmark.scaling                  # half an hour
    python -m examples.benchmark.scaling --panels size --rounds 1

Our model on each backend and timm's predict and train in turn, round after
round; only the largest batches are measured one process at a time, for want of
memory. Figures as JSON and a chart are written to a folder.
"""

import argparse
import contextlib
import json
import pathlib
import sys
import tempfile
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import rich.console
import rich.progress

from examples.benchmark import bound
from examples.benchmark import curves
from examples.benchmark import machine
from examples.benchmark import worker
from examples.benchmark.candidates import CANDIDATES
from examples.benchmark.candidates import Candidate
from examples.benchmark.curves import Point
from examples.benchmark.models import positive
from examples.benchmark.setting import Setting

MODEL = "resnext50_32x4d"
MODELS = ("resnext26ts", MODEL, "resnext101_32x8d")
LINES = ("timm", "tensorflow", "jax", "torch")
BATCHES = {"predict": (1, 4, 16, 64, 256), "train": (1, 4, 16, 64)}
ALONE = {"predict": 256, "train": 64}  # batches of one process at a time
SIZES = (128, 224, 320, 448)
BATCH = 8  # where other things grow


def main() -> int:
    """Run the script, and return its exit status."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s [options]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--panels",
        nargs="+",
        choices=MEASURE,
        default=list(MEASURE),
        help="what to measure (default: all)",
    )
    parser.add_argument(
        "--rounds",
        type=positive,
        default=3,
        metavar="N",
        help="samples of each figure (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        default=pathlib.Path("runs", "scaling"),
        metavar="FOLDER",
        help="folder for scaling.json and .png (default: %(default)s)",
    )
    args = parser.parse_args()
    lacking = {each for name in LINES for each in CANDIDATES[name].missing}
    if lacking:
        parser.error(f"Not installed: {', '.join(sorted(lacking))}.")
    try:
        args.output.mkdir(parents=True, exist_ok=True)
        points = list(measure(args.panels, args.rounds))
        report = {
            "model": MODEL,
            "hardware": machine.hardware("cpu"),
            "cores": len(machine.processors()),
            "versions": machine.versions(),
            "rounds": args.rounds,
            "points": [point.record() for point in points],
        }
        content = f"{json.dumps(report, indent=1)}\n"
        (args.output / "scaling.json").write_text(content, "utf-8")
        curves.draw(points, args.output / "scaling.png")
    except (OSError, RuntimeError) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 1
    print(f"Written to {args.output / 'scaling'}.json and .png")
    return 0


def measure(panels: Sequence[str], rounds: int) -> Iterator[Point]:
    """Measure panels, and print each point."""
    console = rich.console.Console(stderr=True)
    with rich.progress.Progress(
        console=console, disable=not console.is_terminal, transient=True
    ) as progress:
        for panel in panels:
            progress.add_task(panel, total=None)
            for point in MEASURE[panel](rounds):
                print(point, flush=True)
                yield point


def predict(rounds: int) -> Iterator[Point]:
    """Measure throughput and memory of prediction, by batch."""
    yield from by_batch("predict", "memory of prediction", rounds)


def train(rounds: int) -> Iterator[Point]:
    """Measure throughput and memory of training, by batch."""
    yield from by_batch("train", "memory of training", rounds)


def by_batch(kind: str, memory: str, rounds: int) -> Iterator[Point]:
    """Measure throughput and memory of a task, by batch."""
    chosen = [CANDIDATES[name] for name in LINES]
    for batch in BATCHES[kind]:
        alone = batch >= ALONE[kind]
        for group in [[each] for each in chosen] if alone else [chosen]:
            speeds, peaks = figures(group, kind, setting(), batch, rounds)
            for name in speeds:
                yield Point(kind, batch, name, speeds[name])
                yield Point(memory, batch, name, [peaks[name] / 1e9])


def size(rounds: int) -> Iterator[Point]:
    """Measure prediction by image size, in megapixels per second."""
    chosen = [CANDIDATES[name] for name in LINES]
    for side in SIZES:
        speeds, _ = figures(
            chosen, "predict", setting(size=side), BATCH, rounds
        )
        for name, samples in speeds.items():
            yield Point(
                "size", side, name, [x * side * side / 1e6 for x in samples]
            )


def startup(rounds: int) -> Iterator[Point]:
    """Measure the time to a first prediction, by model."""
    for model in MODELS:
        samples: dict[str, list[float]] = {name: [] for name in LINES}
        for _ in range(rounds):
            for name in LINES:
                seconds = worker.startup_seconds(
                    CANDIDATES[name], setting(model)
                )
                samples[name].append(seconds)
        for name in LINES:
            yield Point("startup", model, name, samples[name])


def cores(rounds: int) -> Iterator[Point]:
    """Measure training by one process, and by two."""
    for label, groups in bindings().items():
        for name in LINES:
            samples = bound.train(
                CANDIDATES[name], setting(), groups, BATCH, rounds
            )
            yield Point("cores", label, name, samples)


def pipeline(rounds: int) -> Iterator[Point]:
    """Measure the training pipeline, by cores."""
    with tempfile.TemporaryDirectory() as folder:
        bound.write_photographs(pathlib.Path(folder))
        available = sorted(machine.processors())
        for number in (1, 2):
            for source in ("folder", "tfds"):
                samples = bound.read(
                    source, pathlib.Path(folder), available[:number], rounds
                )
                yield Point("pipeline", number, source, samples)


MEASURE: dict[str, Callable[[int], Iterator[Point]]] = {
    "predict": predict,
    "train": train,
    "size": size,
    "startup": startup,
    "cores": cores,
    "pipeline": pipeline,
}


def figures(
    group: Sequence[Candidate],
    kind: str,
    shared: Setting,
    batch: int,
    rounds: int,
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return images per second in each round, and peak memory in bytes."""
    task: dict[str, Any] = {"kind": kind, "batch": batch, "dtype": "float32"}
    samples: dict[str, list[float]] = {each.name: [] for each in group}
    workers = {}
    with contextlib.ExitStack() as stack:
        for _ in range(rounds):
            for each in group:
                known = samples[each.name]
                if known and worker.is_slow(known[0], batch):
                    continue
                if each.name not in workers:
                    workers[each.name] = stack.enter_context(
                        contextlib.closing(worker.Worker(each, shared))
                    )
                known.append(workers[each.name].ask(task))
        peaks = {
            name: process.ask(task | {"kind": "memory"})
            for name, process in workers.items()
        }
    return samples, peaks


def setting(model: str = MODEL, size: int = 224) -> Setting:
    """Return the setting of all processors."""
    return Setting(model, size, len(machine.processors()), "cpu", "")


def bindings() -> dict[str, list[list[int]]]:
    """Return the cores of each process, by a label."""
    first, second, *_ = sorted(machine.processors())
    return {
        "1 process, 1 core": [[first]],
        "2 processes, 1 core each": [[first], [second]],
        "1 process, 2 cores": [[first, second]],
    }


if __name__ == "__main__":
    sys.exit(main())
