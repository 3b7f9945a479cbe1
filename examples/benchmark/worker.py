"""Process of a candidate, which measures figures on request."""

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from examples.benchmark import steps
from examples.benchmark.candidates import Candidate
from examples.benchmark.setting import Setting

SAMPLE_SECONDS = 1.0  # a figure repeats a call until it has taken this long
SLOW_SECONDS = 10.0  # a call slower than this is timed only once


class Worker:
    """Handle of a candidate's process.

    Args:
        candidate: Candidate that it measures.
        setting: Setting that all candidates share.
    """

    def __init__(self, candidate: Candidate, setting: Setting) -> None:
        self.candidate = candidate
        # Read only if it fails; a pipe would fill.
        self.errors = tempfile.TemporaryFile(  # noqa: SIM115  (`close` ends it)
            "w+", errors="replace"
        )
        self.process = subprocess.Popen(
            setting.command("--worker", name=candidate.name),
            env=setting.environment(candidate.backend),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
        )

    def ask(self, task: dict[str, Any]) -> float:
        """Return a figure: images per second, or bytes.

        Raises:
            RuntimeError: If the process ends instead.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(task) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        answer = self.process.stdout.readline()
        if not answer:
            self.process.wait()
            self.errors.seek(0)
            lines = self.errors.read().strip().splitlines() or ["no output"]
            name = self.candidate.name
            raise RuntimeError(
                f"'{name}' failed at {task['kind']}: {lines[-1]}"
            )
        return float(answer)

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()
        self.errors.close()


def is_slow(figure: float, batch: int) -> bool:
    """Return whether another sample of this speed would take too long."""
    return batch / figure >= SLOW_SECONDS


def startup_seconds(candidate: Candidate, setting: Setting) -> float:
    """Time a first prediction: import, build or load, compute."""
    start = time.perf_counter()
    with contextlib.closing(Worker(candidate, setting)) as worker:
        worker.ask({"kind": "startup", "batch": 1, "dtype": "float32"})
        return time.perf_counter() - start


def work(candidate: Candidate, setting: Setting) -> None:
    """Read tasks and write figures, in the process itself."""
    # Other output goes to standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _limit(candidate.library, setting.threads)
    prepared: tuple[steps.Step, float] | None = None
    for line in sys.stdin:
        task = json.loads(line)
        batch, kind = task["batch"], task["kind"]
        if prepared is None:
            training = kind in ("train", "memory of training")
            prepare = steps.PREPARE[candidate.runs]
            step = prepare(candidate, setting, task["dtype"], training)(batch)
            step()
            prepared = step, 0.0 if kind == "startup" else _pace(step)
        step, seconds = prepared
        if kind.startswith("memory"):
            figure = _peak(candidate.library, setting.device)
        elif kind == "startup":
            figure = 0.0
        else:
            figure = batch / _seconds(step, seconds)
        print(figure, file=answers, flush=True)


def _limit(library: str, threads: int) -> None:
    """Limit a library to a number of threads."""
    if hasattr(os, "sched_setaffinity"):
        # JAX can't be given a number of threads; it counts these.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    if library == "torch":
        import torch

        torch.set_num_threads(threads)
    elif library == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)


def _pace(step: Callable[[], Any]) -> float:
    """Estimate the seconds of a call."""
    seconds = _duration(step)
    if seconds >= SLOW_SECONDS:
        return seconds
    return min(_duration(step) for _ in range(2))


def _seconds(step: Callable[[], Any], pace: float) -> float:
    """Return the seconds of a call."""
    if pace >= SLOW_SECONDS:
        return pace
    calls = max(1, round(SAMPLE_SECONDS / pace))
    start = time.perf_counter()
    for _ in range(calls):
        step()
    return (time.perf_counter() - start) / calls


def _duration(step: Callable[[], Any]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def _peak(library: str, device: str) -> float:
    """Return the peak memory in bytes: resident, or of the GPU."""
    if device == "cpu":
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak * (1.0 if sys.platform == "darwin" else 1024.0)
    if library == "jax":
        import jax

        return float(jax.devices()[0].memory_stats()["peak_bytes_in_use"])
    import torch

    return float(torch.cuda.max_memory_allocated())
