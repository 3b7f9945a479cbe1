"""Run exported files in their own runtimes, and measure their speed.

A script for a new process that never imports Keras:

    python validation.py INPUTS.npz [LOADER.py FILE OUTPUTS.npz]...

LOADER.py defines `load`, see `exporting.base.Format`. Inputs are batches of
images, "0", "1", …; outputs are "0/name", …, `latency` and `throughput`.
"""

import pathlib
import runpy
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

BATCH = 32

Predict = Callable[[np.ndarray], dict[str, np.ndarray]]


def main(inputs: str, loader: str, path: str, outputs: str) -> None:
    """Run a file, and save its outputs and times."""
    predict: Predict = runpy.run_path(loader)["load"](pathlib.Path(path))
    results: dict[str, Any] = {}
    with np.load(inputs) as file:
        batches = dict(file)
    for key, x in batches.items():
        parts = [
            predict(x[start : start + BATCH])
            for start in range(0, len(x), BATCH)
        ]
        for name in parts[0]:
            y = [np.asarray(part[name]) for part in parts]
            results[f"{key}/{name}"] = np.concatenate(y)
    x = np.resize(batches["0"], (BATCH, *batches["0"].shape[1:]))
    np.savez(
        outputs,
        **results,
        latency=median_time(predict, x[:1], runs=15, seconds=2),
        throughput=BATCH / median_time(predict, x, runs=3, seconds=6),
    )


def median_time(
    predict: Predict, x: np.ndarray, runs: int, seconds: float
) -> float:
    """Return the median seconds of a call, after a first one."""
    predict(x)
    times: list[float] = []
    while len(times) < runs and sum(times) < seconds:
        start = time.perf_counter()
        predict(x)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    inputs, *files = sys.argv[1:]
    for names in zip(files[::3], files[1::3], files[2::3], strict=True):
        main(inputs, *names)
