"""Benchmark models: ours, timm's, and those of inference engines.

    python -m examples.benchmark.models                     # all installed
    python -m examples.benchmark.models --rounds 3 --batches 32
    python -m examples.benchmark.models --candidates timm onnx
    python -m examples.benchmark.models --device gpu        # JAX and torch

Each candidate runs in its own process, is built and warmed up once, and is
sampled in turn, round after round, so that drift of the machine affects all
alike. Medians and spreads are printed, with the ratio to timm; a Markdown
table, all figures as JSON and a chart are written to a folder. All candidates
of a task run at the same time, with about 1.5 GB each for batches of 32; name
fewer if memory is short.

timm, ONNX Runtime and OpenVINO are included if they are installed:
pip install timm 'keras_resnext[export]'
"""

import argparse
import json
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import rich.console
import rich.progress

from examples.benchmark import artifacts
from examples.benchmark import candidates
from examples.benchmark import chart
from examples.benchmark import machine
from examples.benchmark import worker
from examples.benchmark.candidates import CANDIDATES
from examples.benchmark.candidates import Candidate
from examples.benchmark.results import Result
from examples.benchmark.results import markdown
from examples.benchmark.setting import Setting

BATCHES = {"cpu": (1, 8, 32), "gpu": (64, 256)}
TRAIN_BATCHES = {"cpu": (8,), "gpu": (64, 256)}
MEMORY_BATCH = 16
STARTUP_ROUNDS = 3


def main() -> int:
    """Measure, or play the part of a process that is measured."""
    parser = arguments()
    args = parser.parse_args()
    try:
        if args.worker:
            name = args.worker.pop("name")
            worker.work(CANDIDATES[name], Setting(**args.worker))
            return 0
        if args.maker:
            maker, forms = args.maker.pop("maker"), args.maker.pop("forms")
            artifacts.make(maker, forms, Setting(**args.maker))
            return 0
        return measure(args)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    except RuntimeError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 1


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s [options]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--model",
        default="resnext50_32x4d",
        metavar="NAME",
        help="a name of keras_resnext.list_models() (default: %(default)s)",
    )
    add(
        "--candidates",
        nargs="+",
        choices=CANDIDATES,
        metavar="NAME",
        help=f"some of: {', '.join(CANDIDATES)} (default: all that are "
        "installed, stock layers only on TensorFlow)",
    )
    add(
        "--tasks",
        nargs="+",
        choices=candidates.TASKS,
        default=candidates.TASKS,
        help="tasks to measure (default: all)",
    )
    add(
        "--dtypes",
        nargs="+",
        choices=candidates.DTYPES,
        default=candidates.DTYPES,
        help="precisions of the computation (default: both)",
    )
    add("--device", choices=BATCHES, default="cpu", help="gpu is NVIDIA's")
    for option, use, sizes in (
        ("--batches", "predict", BATCHES),
        ("--train-batches", "train", TRAIN_BATCHES),
    ):
        usual = "; ".join(
            f"{' '.join(map(str, numbers))} on a {device}"
            for device, numbers in sizes.items()
        )
        add(
            option,
            nargs="+",
            type=positive,
            metavar="N",
            help=f"batch sizes to {use} with (default: {usual})",
        )
    add(
        "--rounds",
        type=positive,
        default=5,
        metavar="N",
        help="samples of each figure (default: %(default)s)",
    )
    add(
        "--threads",
        type=positive,
        default=len(machine.processors()),
        metavar="N",
        help="threads of each candidate (default: %(default)s, all)",
    )
    add(
        "--size",
        type=positive,
        default=224,
        metavar="PIXELS",
        help="height and width of the images (default: %(default)s)",
    )
    add(
        "--output",
        type=pathlib.Path,
        default=pathlib.Path("runs", "benchmark"),
        metavar="FOLDER",
        help="folder for benchmark.json, .md, .png (default: %(default)s)",
    )
    for option in ("--worker", "--maker"):
        add(option, type=json.loads, help=argparse.SUPPRESS)
    return parser


def measure(args: argparse.Namespace) -> int:
    """Measure all requested tasks.

    Raises:
        ValueError: If the arguments don't fit, or no candidate is available.
        RuntimeError: If a candidate fails.
        OSError: If the results can't be written.
    """
    if args.threads > len(machine.processors()):
        raise ValueError(
            f"There are {len(machine.processors())} processors for --threads "
            f"{args.threads}."
        )
    args.batches = args.batches or BATCHES[args.device]
    args.train_batches = args.train_batches or TRAIN_BATCHES[args.device]
    setting = Setting(
        args.model,
        args.size,
        args.threads,
        args.device,
        str((args.output / "files").resolve()),
    )
    console = rich.console.Console()
    wanted = asked_for(args)
    hardware = machine.hardware(args.device)
    chosen = taking_part(wanted, args, console)
    # Last, as it starts a process.
    check_model(args.model)
    args.output.mkdir(parents=True, exist_ok=True)
    title = f"{args.model}, {args.size}x{args.size}, {hardware}"
    if args.device == "cpu":
        title += f", {args.threads} threads"
    console.print(f"{title}\n", highlight=False)

    results = []
    for result in run(chosen, args, setting):
        console.print(result.table(), highlight=False)
        console.print()
        results.append(result)
    report = {
        "model": args.model,
        "size": args.size,
        "hardware": hardware,
        "threads": args.threads,
        "versions": machine.versions(),
        "results": [result.record() for result in results],
    }
    content = f"{json.dumps(report, indent=1)}\n"
    (args.output / "benchmark.json").write_text(content, "utf-8")
    text = (
        f"{title}\n\n{', '.join(map(' '.join, machine.versions().items()))}\n\n"
    )
    text += markdown(results)
    (args.output / "benchmark.md").write_text(text, "utf-8")
    chart.draw(results, title, args.output / "benchmark.png")
    print(f"Written to {args.output / 'benchmark'}.json, .md and .png")
    return 0


def check_model(name: str) -> None:
    """Refuse an unknown name, without loading a framework.

    Raises:
        ValueError: If there is no such model.
    """
    done = subprocess.run(
        [sys.executable, "-m", "keras_resnext", "list", name],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ValueError(done.stderr.strip().partition("error: ")[2])


def asked_for(args: argparse.Namespace) -> list[Candidate]:
    """Return the requested candidates, or the default ones.

    Raises:
        ValueError: If one does not run on that device.
    """
    names = args.candidates or candidates.usual(args.device)
    wanted = [CANDIDATES[name] for name in dict.fromkeys(names)]
    elsewhere = [
        each.name for each in wanted if args.device not in each.devices
    ]
    if elsewhere:
        raise ValueError(f"Not on a {args.device}: {', '.join(elsewhere)}.")
    return wanted


def taking_part(
    wanted: list[Candidate],
    args: argparse.Namespace,
    console: rich.console.Console,
) -> list[Candidate]:
    """Return the wanted candidates that are installed.

    Raises:
        ValueError: If none is, or one that was named isn't.
    """
    lacking = {each.name: each.missing for each in wanted if each.missing}
    if args.candidates and lacking:
        raise ValueError(
            "Not installed: "
            + "; ".join(
                f"{' and '.join(modules)}, for {name}"
                for name, modules in lacking.items()
            )
        )
    if lacking:
        console.print(f"Not installed, left out: {', '.join(lacking)}")
    present = [each for each in wanted if each.name not in lacking]
    if not present:
        raise ValueError("None of the candidates is installed.")
    return present


def run(
    chosen: list[Candidate], args: argparse.Namespace, setting: Setting
) -> Iterator[Result]:
    """Measure every task, in turns."""
    kinds = [
        ("predict", "predict", args.batches, args.rounds),
        ("train", "train", args.train_batches, args.rounds),
        ("startup", "startup", (1,), min(args.rounds, STARTUP_ROUNDS)),
        ("memory", "memory of prediction", (MEMORY_BATCH,), 1),
        ("memory", "memory of training", (MEMORY_BATCH,), 1),
    ]
    console = rich.console.Console(stderr=True)
    with rich.progress.Progress(
        console=console, disable=not console.is_terminal, transient=True
    ) as progress:
        for maker, forms in artifacts.makers(chosen).items():
            task = progress.add_task(
                f"Exporting {', '.join(forms)}", total=None
            )
            artifacts.order(maker, forms, setting)
            progress.remove_task(task)
        for dtype in args.dtypes:
            for group, kind, batches, rounds in kinds:
                once = group in ("startup", "memory") and dtype != "float32"
                able = [
                    each
                    for each in chosen
                    if dtype in each.dtypes
                    and group in each.tasks
                    and (kind != "memory of training" or "train" in each.tasks)
                ]
                if group in args.tasks and able and not once:
                    yield from compare(
                        *(able, kind, batches, dtype, rounds),
                        *(setting, progress),
                    )


def compare(
    able: list[Candidate],
    kind: str,
    batches: tuple[int, ...],
    dtype: str,
    rounds: int,
    setting: Setting,
    progress: rich.progress.Progress,
) -> Iterator[Result]:
    """Measure one kind of task for all candidates."""
    for batch in batches:
        # New processes for each batch size, so that they don't keep memory.
        workers: dict[str, worker.Worker] = {}
        samples: dict[str, list[float]] = {each.name: [] for each in able}
        bar = progress.add_task("", total=rounds * len(able))
        try:
            for turn in range(rounds):
                for each in able:
                    figures = samples[each.name]
                    title = f"{kind}, batch {batch}, {dtype}: {each.label}"
                    progress.update(bar, description=title)
                    if kind == "startup":
                        figures.append(worker.startup_seconds(each, setting))
                    elif not turn or not worker.is_slow(figures[0], batch):
                        if each.name not in workers:
                            workers[each.name] = worker.Worker(each, setting)
                        task = {"kind": kind, "batch": batch, "dtype": dtype}
                        figures.append(workers[each.name].ask(task))
                    progress.advance(bar)
        finally:
            for process in workers.values():
                process.close()
        progress.remove_task(bar)
        yield Result(kind, batch, dtype, samples)


def positive(text: str) -> int:
    """Return a positive whole number."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"must be a whole number from 1, not {text!r}"
        )
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
