"""All that a run is, in one file, so that it goes on where it was killed.

A file holds every number of the model and of its optimizer, the states of its
random generators among them, the metrics of the epoch, the place in the data
and the history so far. It is written under another name and renamed when it is
on the disk, and carries its own checksum.
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
    """No checkpoint of a run can be used."""


def save(
    folder: pathlib.Path,
    model: keras.Model,
    step: int,
    state: dict[str, Any],
    writes: bool = True,
    averages: dict[str, np.ndarray] | None = None,
) -> None:
    """Writes a checkpoint and removes those before the last one.

    Args:
        folder: Where to.
        model: Compiled, and its optimizer built.
        step: Steps of training so far.
        state: What JSON can hold.
        writes: Whether this worker writes. All must take part in the reading.
        averages: The state of a `WeightAverage`.

    Raises:
        OSError: If there is no space left, say. What was there stays.
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
    """What was found in a checkpoint.

    Args:
        path: The file.
        state: What was saved with the numbers.
        reasons: Why files newer than it can't be used.
        generators: To be set in the middle of an epoch.
        metrics: To be added there.
        averages: For a `WeightAverage` to continue from; empty for none.
    """

    path: pathlib.Path
    state: dict[str, Any]
    reasons: list[str]
    generators: list[np.ndarray]
    metrics: dict[str, np.ndarray]
    averages: dict[str, np.ndarray]


def restore(folder: pathlib.Path, model: keras.Model) -> Restored:
    """Puts the newest whole checkpoint into a model and its optimizer.

    Raises:
        CheckpointError: If there is none, or it is of another model.
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
    """Takes the arrays out whose names start so."""
    names = [name for name in arrays if name.startswith(start)]
    return {name: arrays.pop(name) for name in names}


def files(folder: pathlib.Path) -> list[pathlib.Path]:
    """The checkpoints in a folder, the newest first."""
    return sorted(folder.glob(PATTERN), reverse=True)


def variables(model: keras.Model) -> Iterator[tuple[str, keras.Variable]]:
    """What a checkpoint holds, by names that stay from run to run."""
    yield from _numbered("model", model.variables)
    yield from _numbered("optimizer", model.optimizer.variables)


def metrics(model: keras.Model) -> Iterator[tuple[str, keras.Variable]]:
    """The same for what `fit` adds up in an epoch, after its first step."""
    yield from _numbered("metrics", model.metrics_variables)


def add_metrics(model: keras.Model, sums: dict[str, np.ndarray]) -> None:
    """Adds what had been added up before a step, which was the first since.

    Keras may make what it adds up in not before that step. All of them are
    sums, so that the order is of no matter.
    """
    for name, variable in metrics(model):
        now = keras.ops.convert_to_numpy(variable)
        variable.assign(now + sums[name])


def generators() -> dict[str, np.ndarray]:
    """The states of random generators that are no variables: torch's own."""
    if keras.backend.backend() != "torch":
        return {}
    import torch

    states = [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]
    return {f"torch/{i}": state.numpy() for i, state in enumerate(states)}


def seed_generators(seed: int, epoch: int) -> None:
    """Begins an epoch, as `fit` draws numbers of its own before it."""
    if keras.backend.backend() == "torch":
        import torch

        chance = np.random.default_rng((seed, epoch))
        torch.manual_seed(int(chance.integers(2**63)))


def set_generators(states: list[np.ndarray]) -> None:
    """Puts back what `generators` found."""
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
        digest.update(np.atleast_1d(arrays[name]).view(np.uint8))
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
            f"'{path}' holds another network or optimizer than this command "
            "makes."
        )
    for name, variable in wanted.items():
        variable.assign(arrays[name])
