"""Directory of a run, with its record."""

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

from keras_resnext import atomic_files
from keras_resnext.training.recipe import Recipe

RECORD = "run.json"
PACKAGES = ("keras", "keras_resnext", "numpy", "jax", "torch")


class RunDirectory:
    """Directory of a run.

    Args:
        path: The directory.
        writes: Whether this worker writes; one of several does.
    """

    def __init__(
        self, path: str | os.PathLike[str], writes: bool = True
    ) -> None:
        self.path = pathlib.Path(path).expanduser()
        self.writes = writes
        self._board: Any = None

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Keep other processes from running in the directory.

        Raises:
            OSError: If another process is running there, or it can't be
                written.
        """
        if not self.writes:
            yield
            return
        self.path.mkdir(parents=True, exist_ok=True)
        with atomic_files.lock(self.path):
            yield

    def claim(self, record: dict[str, Any], resume: bool) -> None:
        """Write the record of a run, or check that it is of the same run.

        Args:
            record: Result of `describe`.
            resume: Whether the run is to be resumed.

        Raises:
            ValueError: If the record is of another run, or of this run and
                `resume` is false.
            OSError: If it can't be written.
        """
        path = self.path / RECORD
        if not self.writes:
            return
        if not path.exists():
            self.write_record(record)
            return
        try:
            before = json.loads(path.read_text("utf-8"))
            known = {**before["recipe"], **before["identity"]}
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"'{path}' is not the record of a run.") from None
        asked = {**record["recipe"], **record["identity"]}
        other = [key for key in asked if asked[key] != known.get(key)]
        if other:
            raise ValueError(
                f"'{self.path}' is the directory of another run: "
                + ", ".join(_difference(key, known, asked) for key in other)
                + ". Use another directory (--output)."
            )
        if not resume:
            raise ValueError(
                f"'{self.path}' already contains this run. Resume it "
                "(--resume) or use another directory (--output)."
            )

    def write_record(self, record: dict[str, Any]) -> None:
        """Write the record of a run."""
        content = f"{json.dumps(record, indent=2)}\n".encode()
        atomic_files.write(self.path / RECORD, content)

    def write_history(
        self, history: list[dict[str, Any]], measure: str, title: str
    ) -> None:
        """Write the history as a table, and as curves of loss and measure."""
        from keras_resnext.training import plots

        text = io.StringIO()
        rows = csv.DictWriter(text, list(history[0]))
        rows.writeheader()
        rows.writerows(history)
        atomic_files.write(self.path / "history.csv", text.getvalue().encode())
        columns = {key: [row[key] for row in history] for key in history[0]}
        curves = self.path / "curves.png"
        plots.draw_curves(columns, 0, curves, (measure, title))

    def write_board(self, row: dict[str, Any]) -> None:
        """Write the metrics of an epoch for TensorBoard.

        Raises:
            OSError: If they can't be written.
        """
        import tensorflow as tf

        if not self.writes:
            return
        try:
            if self._board is None:
                self._board = tf.summary.create_file_writer(
                    str(self.path / "tensorboard")
                )
            with self._board.as_default(step=row["epoch"]):
                for name, value in row.items():
                    tf.summary.scalar(name, value)
            self._board.flush()
        except tf.errors.OpError as error:
            reason = error.message.splitlines()[0]
            raise OSError(f"Can't write for TensorBoard: {reason}") from error


def describe(recipe: Recipe, identity: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a run and its environment.

    Args:
        recipe: The recipe, including overridden fields.
        identity: JSON values that identify the run: the model, the dataset,
            the seed.

    Returns:
        A dictionary of JSON values.
    """
    import tensorflow as tf

    # The package may be tensorflow or tensorflow-cpu.
    versions = {"tensorflow": tf.__version__}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
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
    """Return the names of the processor and of the backend's accelerators."""
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
        import tensorflow as tf

        found += [
            tf.config.experimental.get_device_details(card)["device_name"]
            for card in tf.config.list_physical_devices("GPU")
        ]
    return found


def processor() -> str:
    """Return the name of the processor."""
    names = pathlib.Path("/proc/cpuinfo")
    if names.exists():
        for line in names.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(": ")[2]
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """Return the commit of this clone, with a plus if files were changed.

    Returns:
        Hexadecimal digits; `None` for an installed package.
    """
    clone = pathlib.Path(__file__).parents[2]

    def git(*words: str) -> str:
        return subprocess.run(
            ("git", *words),
            cwd=clone,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    # Not a repository that contains the environment of the package.
    if not (clone / ".git").exists():
        return None
    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _difference(key: str, known: dict[str, Any], asked: dict[str, Any]) -> str:
    """Describe a difference between a recorded and a requested run."""
    before, now = known.get(key), asked[key]
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
            _image_difference(split, before.get(split), now.get(split), known)
            for split in sorted({*before, *now})
            if before.get(split) != now.get(split)
        )
    return f"its {key} was {before!r}, not {now!r}"


def _image_difference(
    split: str, before: Any, now: Any, known: dict[str, Any]
) -> str:
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return f"its {split} images were {before!r}, not {now!r}"
    counts = [
        f"{label!r} had {old:,}, not {new:,}"
        for label, old, new in zip(
            known["labels"], before["counts"], now["counts"], strict=False
        )
        if old != new
    ]
    if not counts:
        return f"some of its {split} images have other names or sizes"
    more = f" and {len(counts) - 3:,} more classes" if counts[3:] else ""
    return f"of its {split} images {', '.join(counts[:3])}{more}"
