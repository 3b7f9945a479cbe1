"""The folder of a run, which says exactly what was run."""

import argparse
import contextlib
import csv
import io
import json
import os
import pathlib
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata
from typing import Any

import keras
import report
import tensorflow as tf

from keras_resnext import atomic_files
from keras_resnext.training.recipes import Recipe

RECORD = "run.json"
PACKAGES = ("keras", "keras_resnext", "numpy", "jax", "torch")


def describe(recipe: Recipe, identity: dict[str, Any]) -> dict[str, Any]:
    """What was run, and on what.

    Args:
        recipe: The recipe, with what was overridden.
        identity: What else a run is known by: the model, the data, the seed.
    """
    # By itself: its package may be tensorflow or tensorflow-cpu.
    versions = {"tensorflow": tf.__version__}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "recipe": json.loads(json.dumps(asdict(recipe))),
        "identity": identity,
        "backend": keras.backend.backend(),
        "python": platform.python_version(),
        "versions": versions,
        "commit": commit(),
        "hardware": hardware(),
    }


def hardware() -> list[str]:
    """The processor, and the graphics cards that the backend sees."""
    found = [f"{os.cpu_count()} x {processor()}"]
    if keras.backend.backend() == "jax":
        import jax

        found += [each.device_kind for each in jax.devices()]
    elif keras.backend.backend() == "torch":
        import torch

        found += [
            torch.cuda.get_device_name(number)
            for number in range(torch.cuda.device_count())
        ]
    else:
        found += [
            tf.config.experimental.get_device_details(card)["device_name"]
            for card in tf.config.list_physical_devices("GPU")
        ]
    return found


def processor() -> str:
    """What the processor is called; only Linux needs to be asked twice."""
    names = pathlib.Path("/proc/cpuinfo")
    if names.exists():
        for line in names.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(": ")[2]
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """The commit of this clone, with a plus if files were changed."""
    here = pathlib.Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(
            ("git", *words),
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def of_several(args: argparse.Namespace, name: str) -> pathlib.Path:
    """The folder that holds the folders of several runs.

    Args:
        args: May name the folder, and say that it is gone on with.
        name: What it is called in "runs" otherwise.

    Raises:
        ValueError: If there is something in it that is not to be resumed.
    """
    folder = args.output or pathlib.Path("runs", name)
    if folder.exists() and any(folder.iterdir()) and not args.resume:
        raise ValueError(
            f"'{folder}' holds something already. Add --resume to go on with "
            "it, or name another with --output."
        )
    return folder


@contextlib.contextmanager
def hold(folder: pathlib.Path, writes: bool) -> Iterator[None]:
    """Keep other processes from running in a folder, which is made if need be.

    Args:
        folder: The folder.
        writes: Whether this worker writes: the others leave the lock to it.

    Raises:
        OSError: If another process is running there, or it can't be written.
    """
    if not writes:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_files.lock(folder):
        yield


def claim(
    folder: pathlib.Path, record: dict[str, Any], resume: bool, writes: bool
) -> None:
    """Makes a folder this run's, or finds that it is.

    Args:
        folder: The folder.
        record: What `describe` returned.
        resume: Whether to go on with what is there.
        writes: Whether this worker writes: the others leave all to it.

    Raises:
        ValueError: If it is another run's, or already begun and not to be
            resumed.
        OSError: If it can't be written.
    """
    path = folder / RECORD
    if not writes:
        return
    if not path.exists():
        atomic_files.write(path, _json(record))
        return
    try:
        before = json.loads(path.read_text("utf-8"))
        told = {**before["recipe"], **before["identity"]}
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"'{path}' is not the record of a run.") from None
    asked = {**record["recipe"], **record["identity"]}
    other = [key for key in asked if asked[key] != told.get(key)]
    if other:
        raise ValueError(
            f"'{folder}' is the folder of another run: "
            + ", ".join(_difference(key, told, asked) for key in other)
            + ". Name another with --output."
        )
    if not resume:
        raise ValueError(
            f"'{folder}' holds this run already. Add --resume to go on with "
            "it, or name another with --output."
        )


def write_history(
    folder: pathlib.Path, history: list[dict], measure: tuple[str, str]
) -> None:
    """The history so far as a table and as curves, of a measure, too."""
    text = io.StringIO()
    rows = csv.DictWriter(text, list(history[0]))
    rows.writeheader()
    rows.writerows(history)
    atomic_files.write(folder / "history.csv", text.getvalue().encode())
    columns = {key: [row[key] for row in history] for key in history[0]}
    report.draw_curves(columns, 0, folder / "curves.png", measure)


def board(folder: pathlib.Path) -> tf.summary.SummaryWriter:
    """Where TensorBoard finds the run's numbers."""
    return tf.summary.create_file_writer(str(folder / "tensorboard"))


def write_board(writer: tf.summary.SummaryWriter, row: dict) -> None:
    try:
        with writer.as_default(step=row["epoch"]):
            for name, value in row.items():
                tf.summary.scalar(name, value)
        writer.flush()
    except tf.errors.OpError as error:
        raise OSError(
            f"Can't write for TensorBoard: {error.message.splitlines()[0]}"
        ) from error


def write_record(folder: pathlib.Path, record: dict[str, Any]) -> None:
    atomic_files.write(folder / RECORD, _json(record))


def _difference(key: str, told: dict[str, Any], asked: dict[str, Any]) -> str:
    """Describe a difference between a run on the disk and one asked for."""
    before, now = told.get(key), asked[key]
    if key == "labels" and before:
        gone = [label for label in before if label not in now]
        new = [label for label in now if label not in before]
        named = [
            f"{what} {', '.join(map(repr, labels[:3]))}"
            + (f" and {len(labels) - 3:,} more" if labels[3:] else "")
            for what, labels in (("without", gone), ("with", new))
            if labels
        ]
        return (
            f"its classes are now {' and '.join(named) or 'in another order'}"
        )
    if key == "images" and before:
        return " and ".join(
            _image_difference(split, before.get(split), now.get(split), told)
            for split in sorted({*before, *now})
            if before.get(split) != now.get(split)
        )
    return f"its {key} was {before!r}, not {now!r}"


def _image_difference(
    split: str, before: Any, now: Any, told: dict[str, Any]
) -> str:
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return f"its {split} images were {before!r}, not {now!r}"
    counts = [
        f"{label!r} had {old:,}, not {new:,}"
        for label, old, new in zip(
            told["labels"], before["counts"], now["counts"], strict=False
        )
        if old != new
    ]
    if not counts:
        return f"some of its {split} images have other names or sizes"
    more = f" and {len(counts) - 3:,} more classes" if counts[3:] else ""
    return f"of its {split} images {', '.join(counts[:3])}{more}"


def _json(record: dict[str, Any]) -> bytes:
    return f"{json.dumps(record, indent=2)}\n".encode()
