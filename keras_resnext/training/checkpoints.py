"""Checkpoints of a run, from which it resumes exactly.

A file contains all variables of the model and its optimizer, the states of
random generators, the metrics of the epoch, the position in the data, the
history so far, and its own checksum.
"""

import hashlib
import json
import pathlib
from collections.abc import Iterator
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
import safetensors
import safetensors.numpy

from keras_resnext import atomic_files

KEPT = 2
PATTERN = "step-*.safetensors"


class CheckpointError(ValueError):
    """No checkpoint of a run is usable."""


def save(
    folder: pathlib.Path,
    model: keras.Model,
    step: int,
    state: dict[str, Any],
    writes: bool = True,
    averages: dict[str, np.ndarray] | None = None,
) -> None:
    """Write a checkpoint, and remove all but the last two.

    Args:
        folder: Directory of the run.
        model: Model, compiled and with its optimizer built.
        step: Number of steps so far.
        state: JSON values to save with it.
        writes: Whether this worker writes. All workers must take part in
            reading the weights.
        averages: State of a `WeightAverage`.

    Raises:
        OSError: If the file can't be written. Older checkpoints are kept.
    """
    arrays = {
        name: np.asarray(keras.ops.convert_to_numpy(variable), order="C")
        for name, variable in (*variables(model), *metrics(model))
    }
    if not writes:
        return
    arrays |= generators()
    for name, value in (averages or {}).items():
        arrays[f"averages/{name}"] = value
    metadata = {"state": json.dumps(state)}
    metadata["sha256"] = _digest(arrays, metadata["state"])
    path = folder / PATTERN.replace("*", f"{step:09d}")
    atomic_files.write(path, safetensors.numpy.save(arrays, metadata))
    for old in files(folder)[KEPT:]:
        old.unlink()


class Restored(NamedTuple):
    """Contents of a checkpoint besides the weights.

    Args:
        path: The file.
        state: JSON values that were saved.
        reasons: Sentences that say why newer files can't be used.
        generators: States of random generators within an epoch.
        metrics: Sums of the metrics within an epoch.
        averages: State of a `WeightAverage`; empty for none.
    """

    path: pathlib.Path
    state: dict[str, Any]
    reasons: list[str]
    generators: list[np.ndarray]
    metrics: dict[str, np.ndarray]
    averages: dict[str, np.ndarray]


def restore(folder: pathlib.Path, model: keras.Model) -> Restored:
    """Load the newest undamaged checkpoint into a model and its optimizer.

    Raises:
        CheckpointError: If there is none, or it is another model's.
    """
    reasons = []
    for path in files(folder):
        try:
            arrays, state = _read(path)
        except (OSError, ValueError, KeyError) as error:
            reasons.append(f"'{path}' can't be used: {error}")
            continue
        states = [arrays.pop(name) for name in generators() if name in arrays]
        sums = _taken(arrays, "metrics/")
        averages = {
            name.removeprefix("averages/"): value
            for name, value in _taken(arrays, "averages/").items()
        }
        _assign(model, arrays, path)
        return Restored(path, state, reasons, states, sums, averages)
    raise CheckpointError(
        "; ".join([*reasons, f"there is no checkpoint to use in '{folder}'."])
    )


def _taken(arrays: dict[str, np.ndarray], start: str) -> dict[str, np.ndarray]:
    """Remove and return the arrays whose names have a prefix."""
    names = [name for name in arrays if name.startswith(start)]
    return {name: arrays.pop(name) for name in names}


def files(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return the checkpoints in a directory, the newest first."""
    return sorted(folder.glob(PATTERN), reverse=True)


def last_good(folder: pathlib.Path) -> str:
    """Return a sentence that names the newest checkpoint of a run."""
    saved = files(folder)
    if not saved:
        return "There is no earlier checkpoint."
    return f"Last good checkpoint: '{saved[0]}'."


def variables(model: keras.Model) -> Iterator[tuple[str, keras.Variable]]:
    """Yield the variables of a checkpoint, by names equal in all runs."""
    yield from _numbered("model", model.variables)
    yield from _numbered("optimizer", model.optimizer.variables)


def metrics(model: keras.Model) -> Iterator[tuple[str, keras.Variable]]:
    """Yield the sums of the metrics, which exist after the first step."""
    yield from _numbered("metrics", model.metrics_variables)


def add_metrics(model: keras.Model, sums: dict[str, np.ndarray]) -> None:
    """Add the sums from before a run was resumed, after its first step.

    Keras may create the metrics' variables only in that step. All of them are
    sums, so the order does not matter.
    """
    for name, variable in metrics(model):
        now = keras.ops.convert_to_numpy(variable)
        variable.assign(now + sums[name])


def generators() -> dict[str, np.ndarray]:
    """Return the states of torch's generators, which are not variables."""
    if keras.backend.backend() != "torch":
        return {}
    import torch

    states = [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]
    return {f"torch/{i}": state.numpy() for i, state in enumerate(states)}


def seed_generators(seed: int, epoch: int) -> None:
    """Seed torch for an epoch, as `fit` draws numbers before it."""
    if keras.backend.backend() == "torch":
        import torch

        chance = np.random.default_rng((seed, epoch))
        torch.manual_seed(int(chance.integers(2**63)))


def set_generators(states: list[np.ndarray]) -> None:
    """Restore the states that `generators` returned."""
    import torch

    processor, *cards = map(torch.from_numpy, states)
    torch.set_rng_state(processor)
    torch.cuda.set_rng_state_all(cards)


def _numbered(
    owner: str, found: list[keras.Variable]
) -> Iterator[tuple[str, keras.Variable]]:
    for number, variable in enumerate(found):
        yield f"{owner}/{number:05d}", variable


def _read(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    try:
        with safetensors.safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            arrays = {
                name: file.get_tensor(name) for name in file.offset_keys()
            }
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from None
    if _digest(arrays, metadata["state"]) != metadata["sha256"]:
        raise ValueError("its checksum is wrong")
    return arrays, json.loads(metadata["state"])


def _digest(arrays: dict[str, np.ndarray], state: str) -> str:
    digest = hashlib.sha256(state.encode())
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.atleast_1d(arrays[name]).view(np.uint8).data)
    return digest.hexdigest()


def _assign(
    model: keras.Model, arrays: dict[str, np.ndarray], path: pathlib.Path
) -> None:
    wanted = dict(variables(model))
    if wanted.keys() != arrays.keys() or any(
        tuple(variable.shape) != arrays[name].shape
        for name, variable in wanted.items()
    ):
        raise CheckpointError(
            f"'{path}' is a checkpoint of another model or optimizer."
        )
    for name, variable in wanted.items():
        variable.assign(arrays[name])
