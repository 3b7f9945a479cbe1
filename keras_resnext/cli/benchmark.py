"""The command `benchmark`: speed of a model's predictions on this machine."""

import argparse
import statistics
import time

import keras
import numpy as np
import rich.console
import rich.progress

import keras_resnext
from keras_resnext.cli import loading
from keras_resnext.cli import printing
from keras_resnext.cli import usage

ROUNDS = 5
SECONDS = 20  # after which no further round of a batch size starts


def run(args: argparse.Namespace) -> int:
    """Measure, and print a table."""
    variant = args.model.partition(".")[0]
    size = args.size or loading.own_size(variant)
    with usage():
        plain = keras_resnext.get_model(
            variant, weights=None, input_shape=loading.shape(size)
        )
    models = {"as it is": plain} | {
        f"folded, {dtype}": keras_resnext.optimize_for_inference(plain, dtype)
        for dtype in args.dtypes
    }
    rows = [
        {"model": name, "batch": batch, **row}
        for batch in args.batches
        for name, row in measured(models, batch).items()
    ]
    if args.json:
        printing.print_json(
            {
                "model": variant,
                "size": size,
                "backend": keras.config.backend(),
                "rows": rows,
            }
        )
        return 0
    table = printing.table(
        "model",
        "batch>",
        "ms>",
        "images/s>",
        "spread>",
        title=f"{variant}, {size}x{size}, {keras.config.backend()}",
    )
    for row in rows:
        table.add_row(
            row["model"],
            str(row["batch"]),
            f"{row['ms']:.1f}",
            f"{row['images_per_second']:.1f}",
            f"{row['spread']:.0%}",
        )
    printing.show(table)
    return 0


def measured(
    models: dict[str, keras.Model], batch: int
) -> dict[str, dict[str, float]]:
    """Time models in turn, so that drift of the machine affects all alike.

    Returns:
        By the model's name, the median milliseconds of a call, images per
        second, and the range of the times relative to the median.
    """
    shape = next(iter(models.values())).input_shape[1:]
    x = np.random.default_rng(0).normal(size=(batch, *shape)).astype("float32")
    seconds: dict[str, list[float]] = {name: [] for name in models}
    console = rich.console.Console(stderr=True)
    began = time.monotonic()
    for round_ in rich.progress.track(
        range(ROUNDS + 1),
        f"Batches of {batch}",
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ):
        if len(seconds["as it is"]) and time.monotonic() - began > SECONDS:
            break
        for name, model in models.items():
            start = time.perf_counter()
            model.predict_on_batch(x)
            if round_:  # the first one compiles
                seconds[name].append(time.perf_counter() - start)
    return {name: _row(times, batch) for name, times in seconds.items()}


def _row(times: list[float], batch: int) -> dict[str, float]:
    median = statistics.median(times)
    return {
        "ms": 1000 * median,
        "images_per_second": batch / median,
        "spread": (max(times) - min(times)) / median,
    }
