"""Checkpoint files of other libraries, read as NumPy arrays.

Nothing that a file holds is executed, and no size that it states is believed
before it has been compared with the file's own. One reader per format; the
table at the end picks it by the file's first bytes, never by its extension.
"""

import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import ml_dtypes  # noqa: F401  safetensors' bfloat16 needs it imported
import safetensors

from keras_resnext.weights.files import DOWNLOAD_AGAIN
from keras_resnext.weights.files import Arrays
from keras_resnext.weights.files import CheckpointError
from keras_resnext.weights.files import shown
from keras_resnext.weights.legacy_keras import read_h5
from keras_resnext.weights.pytorch import LEGACY_MAGIC
from keras_resnext.weights.pytorch import read_legacy
from keras_resnext.weights.pytorch import read_zip


def read_checkpoint(path: str | os.PathLike[str]) -> Arrays:
    """Reads the weights in a checkpoint file, without running any of it.

    The content tells the format: safetensors, PyTorch (both the zip format
    and the one before PyTorch 1.6) or Keras' legacy HDF5. Neither PyTorch nor
    TensorFlow is imported. Of a training checkpoint only the weights are
    read, from its first entry among `"state_dict"`, `"model"`,
    `"state_dict_ema"` and `"model_ema"`.

    Args:
        path: Path of the file.

    Returns:
        A dict that maps each weight's name, less a `"module."` that all names
        begin with or a final `":0"` of Keras, to an array of the shape and
        dtype in the file. Weights that were tied share their memory.

    Raises:
        FileNotFoundError: If there is no file at `path`.
        CheckpointError: If the file is damaged, of an unknown format, without
            weights, or if reading it would mean running code from it.

    Example:
    ```python
    weights = read_checkpoint("resnext50_32x4d.pth")
    weights["conv1.weight"].shape  # (64, 3, 7, 7)
    ```
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"There is no checkpoint file {path}; check the path or download "
            "the file first."
        )
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file; name a file inside it.")
    with path.open("rb") as file:
        head = file.read(512)
    try:
        label, read = _recognise(head)
        arrays = read(path)
        if not arrays:
            raise CheckpointError("holds no weights; use another checkpoint")
    except CheckpointError as error:
        raise CheckpointError(f"{path} {error}.") from error.__cause__
    except Exception as error:  # on hostile bytes a parser raises anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise CheckpointError(
            f"{path} can not be read as a {label} file ({shown(reason)}); "
            f"{DOWNLOAD_AGAIN}."
        ) from error
    if all(name.startswith("module.") for name in arrays):  # DataParallel
        return {name.removeprefix("module."): a for name, a in arrays.items()}
    return arrays


# Safetensors -----------------------------------------------------------------


def _read_safetensors(path: pathlib.Path) -> Arrays:
    with safetensors.safe_open(path, framework="np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


# Formats ---------------------------------------------------------------------


class _Format(NamedTuple):
    label: str
    matches: Callable[[bytes], bool]
    read: Callable[[pathlib.Path], Arrays]


_FORMATS = [
    _Format("PyTorch", lambda h: h.startswith(b"PK\x03\x04"), read_zip),
    # Protocols above 2 put a frame, of 9 bytes, before the number.
    _Format("legacy PyTorch", lambda h: LEGACY_MAGIC in h[:32], read_legacy),
    _Format(
        "Keras HDF5", lambda h: h.startswith(b"\x89HDF\r\n\x1a\n"), read_h5
    ),
    # No magic number: 8 bytes of a JSON header's length, then its brace.
    _Format("safetensors", lambda h: h[4:9] == b"\0\0\0\0{", _read_safetensors),
]

_WEB_PAGE = (
    "is a web page, perhaps of an error, in place of a checkpoint; "
    f"{DOWNLOAD_AGAIN}"
)
_IMPOSTORS = {
    b"version https://git-lfs": "is a Git LFS pointer, not the file that it "
    "points to; run `git lfs pull` or download that file",
    b"<!doctype": _WEB_PAGE,
    b"<html": _WEB_PAGE,
    b"<?xml": _WEB_PAGE,
}


def _recognise(head: bytes) -> tuple[str, Callable[[pathlib.Path], Arrays]]:
    if not head:
        raise CheckpointError(f"is empty; {DOWNLOAD_AGAIN}")
    for start, fault in _IMPOSTORS.items():
        if head.lstrip().lower().startswith(start):
            raise CheckpointError(fault)
    for label, matches, read in _FORMATS:
        if matches(head):
            return label, read
    raise CheckpointError(
        "is of an unknown format, not one of "
        f"{', '.join(f.label for f in _FORMATS)}; {DOWNLOAD_AGAIN}"
    )
