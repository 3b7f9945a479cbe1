"""Measure the ImageNet training pipeline against torchvision's, in one run.

JPEG files of 500 x 375 go through a random resized crop to 224, bilinear, a
random flip and the normalization into batches of 64: here with tf.data, there
with torchvision's v2 transforms in a torch DataLoader, with as many threads
as it has processes. Each side runs in its own process and is measured in turn,
round after round, so that drift of the machine affects both alike.

    python -m examples.benchmark.pipeline ~/photos
    python -m examples.benchmark.pipeline ~/photos --rounds 9 --workers 4

Needs torch and torchvision in addition to TensorFlow.
"""

import argparse
import collections
import importlib.util
import math
import multiprocessing
import os
import pathlib
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from collections.abc import Iterable
from multiprocessing.connection import Connection
from typing import Any
from typing import cast

import numpy as np
import PIL.Image
import PIL.ImageOps
import rich.box
import rich.console
import rich.progress
import rich.table

HEIGHT, WIDTH, QUALITY = 375, 500, 90
SIZE, BATCH = 224, 64
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SUFFIXES = (".jpeg", ".jpg", ".png")


def main() -> int:
    """Run the script, and return its exit status."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s PHOTOS [options]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "photos", type=pathlib.Path, help="folder of photographs to begin with"
    )
    for name, default, help in (
        ("--images", 12 * BATCH, "images per round"),
        ("--rounds", 7, "samples of each side"),
        ("--workers", 2, "threads here, processes there"),
    ):
        parser.add_argument(
            name,
            type=int,
            default=default,
            help=f"{help} (default: {default})",
        )
    args = parser.parse_args()
    try:
        return work(args)
    except (ImportError, OSError) as error:
        parser.error(str(error))


def work(args: argparse.Namespace) -> int:
    """Measure both sides, and print the results."""
    needed = ("tensorflow", "torch", "torchvision")
    missing = [name for name in needed if not importlib.util.find_spec(name)]
    if missing:
        raise ImportError(f"not installed: {', '.join(missing)}")
    with tempfile.TemporaryDirectory() as folder:
        paths = write(args.photos, pathlib.Path(folder))
        # All rounds are equally long, whatever the number of photographs.
        paths = paths * math.ceil(args.images / len(paths))
        paths = paths[: args.images]
        rates, costs = measure(paths, args.workers, args.rounds)
    show(rates, costs, args.workers)
    return 0


def write(photos: pathlib.Path, folder: pathlib.Path) -> list[str]:
    """Write each photograph as a JPEG file of ImageNet's usual size."""
    files = sorted(
        file for file in photos.glob("*") if file.suffix.lower() in SUFFIXES
    )
    if not files:
        raise FileNotFoundError(
            f"'{photos}' contains no photographs ({', '.join(SUFFIXES)})."
        )
    paths = [str(folder / f"{file.stem}.jpg") for file in files]
    for file, path in zip(files, paths, strict=True):
        with PIL.Image.open(file) as photo:
            image = PIL.ImageOps.fit(photo.convert("RGB"), (WIDTH, HEIGHT))
        image.save(path, quality=QUALITY)
    return paths


def measure(
    paths: list[str], workers: int, rounds: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return images per second in each round, and CPU seconds per image."""
    # A process that TensorFlow runs in must not be forked.
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for name in SIDES:
        pipes[name], theirs = context.Pipe()
        process = context.Process(
            target=serve, args=(name, paths, workers, theirs), daemon=False
        )
        process.start()
        theirs.close()
        processes.append(process)
    rates: dict[str, list[float]] = {name: [] for name in SIDES}
    with rich.progress.Progress() as progress:
        task = progress.add_task("warming up", total=rounds * len(SIDES))
        for pipe in pipes.values():
            pipe.recv()
        for done in range(rounds):
            for name, pipe in pipes.items():
                label = f"round {done + 1} of {rounds}: {name}"
                progress.update(task, description=label)
                pipe.send("sample")
                rates[name].append(len(paths) / pipe.recv())
                progress.advance(task)
    costs = {}
    for name, pipe in pipes.items():
        pipe.send("stop")
        costs[name] = pipe.recv() / ((rounds + 1) * len(paths))
    for process in processes:
        process.join()
    return rates, costs


def serve(
    name: str, paths: list[str], workers: int, connection: Connection
) -> None:
    """Warm up one side, then measure it on request."""
    batches, close = SIDES[name](paths, workers)
    before = cpu_seconds()
    collections.deque(batches, maxlen=0)  # which takes them all
    connection.send("ready")
    while connection.recv() == "sample":
        start = time.perf_counter()
        collections.deque(batches, maxlen=0)
        connection.send(time.perf_counter() - start)
    close()
    connection.send(cpu_seconds() - before)


def cpu_seconds() -> float:
    return sum(
        sum(resource.getrusage(who)[:2])
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )


def here(
    paths: list[str], workers: int
) -> tuple[Iterable[Any], Callable[[], None]]:
    import tensorflow as tf

    from keras_resnext import data
    from keras_resnext.training import recipes

    recipe = recipes.get("torchvision_v1", train_size=SIZE)
    images = data.IndexedSplit(np.array(paths), np.zeros(len(paths), np.int64))
    labels = [str(number) for number in range(1000)]
    dataset = data.Dataset("photographs", labels, {"train": images})
    batches = data.train_batches(dataset, recipe, BATCH, epoch=0)
    options = tf.data.Options()
    options.threading.private_threadpool_size = workers
    return batches.with_options(options), lambda: None


class Images:
    """Transformed images by position, for a DataLoader."""

    def __init__(self, paths: list[str]) -> None:
        import torch
        from torchvision.transforms import v2

        self.paths = paths
        self.transform = v2.Compose(
            [
                v2.RandomResizedCrop(SIZE),
                v2.RandomHorizontalFlip(),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int) -> Any:
        with PIL.Image.open(self.paths[position]) as image:
            return self.transform(image.convert("RGB"))


def there(
    paths: list[str], workers: int
) -> tuple[Iterable[Any], Callable[[], None]]:
    import torch.utils.data

    # It accepts any list, and its processes are not public.
    loader: Any = torch.utils.data.DataLoader(
        cast(Any, Images(paths)),
        batch_size=BATCH,
        num_workers=workers,
        persistent_workers=True,
    )

    def close() -> None:
        # The system counts a process's time once it has ended.
        loader._iterator._shutdown_workers()

    return loader, close


SIDES = {"torchvision": there, "tf.data": here}


def show(
    rates: dict[str, list[float]], costs: dict[str, float], workers: int
) -> None:
    medians = {name: statistics.median(each) for name, each in rates.items()}
    table = rich.table.Table(box=rich.box.SIMPLE, title_justify="left")
    table.title = (
        f"{workers} workers, {os.cpu_count()} CPUs, load average "
        f"{os.getloadavg()[0]:.1f}"
    )
    for title in (
        *("images per second:", "median", "least", "most"),
        *("ratio", "ms of CPU per image"),
    ):
        table.add_column(title, justify="right" if table.columns else "left")
    for name, each in rates.items():
        table.add_row(
            name,
            f"{medians[name]:.0f}",
            f"{min(each):.0f}",
            f"{max(each):.0f}",
            f"{medians[name] / medians['torchvision']:.2f}",
            f"{1000 * costs[name]:.2f}",
        )
    rich.console.Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
