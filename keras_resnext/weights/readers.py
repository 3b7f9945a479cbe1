"""Checkpoint files of every format, opened to be read tensor by tensor.

No code in a file is executed, and sizes that it states are compared with its
own before they are used. Each format has a reader; the table at the end chooses
it by the file's first bytes rather than its extension.
"""

import contextlib
import json
import os
import pathlib
import re
from collections.abc import Callable
from collections.abc import Iterator
from typing import IO

import numpy as np

from keras_resnext.weights.files import NEW_COPY
from keras_resnext.weights.files import CheckpointError
from keras_resnext.weights.files import Contents
from keras_resnext.weights.files import LazyTensor
from keras_resnext.weights.files import Tensor
from keras_resnext.weights.files import shown
from keras_resnext.weights.foreign_files import fault_of_file
from keras_resnext.weights.foreign_files import fault_of_folder
from keras_resnext.weights.keras_files import KerasTensors
from keras_resnext.weights.keras_files import is_archive
from keras_resnext.weights.keras_files import open_archive
from keras_resnext.weights.keras_files import open_hdf5
from keras_resnext.weights.pytorch import LEGACY_MAGIC
from keras_resnext.weights.pytorch import open_legacy
from keras_resnext.weights.pytorch import open_zip
from keras_resnext.weights.safetensors_files import open_safetensors

Path = str | os.PathLike[str]


@contextlib.contextmanager
def open_checkpoint(
    path: Path, weight_set: str | None = None
) -> Iterator[Contents]:
    """Open a checkpoint file, without executing code in it.

    The content determines the format: safetensors (also the index of several
    files), PyTorch (both the zip format and the one before PyTorch 1.6) or
    Keras (legacy HDF5, `.weights.h5`, `.keras`). Neither PyTorch nor
    TensorFlow is imported.

    Args:
        path: Path of the file.
        weight_set: Set of weights in a training checkpoint to read, as
            for `choose`.

    Yields:
        The `Contents`. Its tensors have a `shape` and a `dtype`;
        `np.asarray` reads one. Names are without prefixes and parts that timm
        also removes (`module.` of data parallelism, `_orig_mod.` of
        `torch.compile`), and without a final `":0"` of Keras.

    Raises:
        FileNotFoundError: If there is no file at `path`.
        CheckpointError: If the file is damaged, of an unknown format, or
            without weights or a clear choice of one set.

    Example:
    >>> with open_checkpoint("flowers.safetensors") as contents:
    ...     contents.tensors["conv1.weight"].shape
    (64, 3, 7, 7)
    """
    path = pathlib.Path(path)
    if match := _SHARD.fullmatch(path.name):
        raise CheckpointError(
            f"{path} is part {int(match[1])} of {int(match[2])} of a "
            "checkpoint; name the index beside it, which ends in "
            "'.index.json'."
        )
    with contextlib.ExitStack() as stack:
        yield _open(path, stack, weight_set)


def _open(
    path: pathlib.Path, stack: contextlib.ExitStack, weight_set: str | None
) -> Contents:
    if not path.exists():
        raise FileNotFoundError(
            f"There is no checkpoint file {path}; check the path or download "
            "the file first."
        )
    if not path.is_file():
        raise CheckpointError(f"{path} {fault_of_folder(path)}.")
    file = stack.enter_context(path.open("rb"))
    stack.callback(_check_unchanged, file, path, _state(file))
    head = file.read(512)
    with _naming(path):
        label, read = _recognize(head, path)
    with _naming(path, label):
        contents = read(path, stack, weight_set)
        if not contents.tensors:
            raise CheckpointError("contains no weights; use another checkpoint")
    tensors = _clean(contents.tensors)
    for name, tensor in tensors.items():
        if isinstance(tensor, LazyTensor):
            tensors[name] = _named(tensor, path, label)
    return contents._replace(tensors=tensors)


def _state(file: IO[bytes]) -> tuple[int, int]:
    state = os.fstat(file.fileno())
    return state.st_size, state.st_mtime_ns


def _check_unchanged(
    file: IO[bytes], path: pathlib.Path, before: tuple[int, int]
) -> None:
    """Refuse a file that another program wrote to while it was read."""
    if _state(file) != before:
        raise CheckpointError(
            f"{path} changed while it was read, and a model may contain parts "
            "of both states; load it again."
        )


@contextlib.contextmanager
def _naming(path: pathlib.Path, label: str = "") -> Iterator[None]:
    """Name the file in errors of readers."""
    try:
        yield
    except CheckpointError as error:
        if str(error).startswith(str(path)):  # already, by a part of an index
            raise
        raise CheckpointError(f"{path} {error}.") from error.__cause__
    except Exception as error:  # on hostile bytes a parser raises anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        article = "an" if label == "index" else "a"
        raise CheckpointError(
            f"{path} can't be read as {article} {label} file "
            f"({shown(reason)}); "
            f"it is cut or damaged, {NEW_COPY}."
        ) from error


def _named(tensor: LazyTensor, path: pathlib.Path, label: str) -> LazyTensor:
    """Name the file in errors of a tensor that is read later."""

    def read() -> np.ndarray:
        with _naming(path, label):
            return tensor.read()

    return LazyTensor(tensor.shape, tensor.dtype, read)


# Names -----------------------------------------------------------------------

# Parts that wrappers of modules add to names: at the beginning, as timm removes
# them, and anywhere if the name can't be a layer's own.
_WRAPPER = re.compile(r"^(_orig_mod\.)?module\.")
_WRAPPERS = re.compile(
    r"(?<![^.])(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|"
    r"_forward_module)\."
)


def _clean(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename tensors as if their modules had not been wrapped."""
    if isinstance(tensors, KerasTensors):
        return tensors
    names = [_WRAPPERS.sub("", _WRAPPER.sub("", name)) for name in tensors]
    if len(set(names)) < len(names):
        return tensors
    return dict(zip(names, tensors.values(), strict=True))


# Indices ---------------------------------------------------------------------


def _open_index(
    path: pathlib.Path, stack: contextlib.ExitStack, wanted: str | None
) -> Contents:
    """Open the files of a sharded checkpoint by the index beside them."""
    if path.stat().st_size > _MAX_INDEX:
        raise CheckpointError("is too large for an index")
    places = json.loads(path.read_bytes())["weight_map"]
    shards = {}
    for name in sorted(set(places.values())):
        plain = pathlib.PurePath(name).name == name not in ("", "..")
        if not plain or name.endswith(".index.json"):
            raise CheckpointError(
                f"names {shown(name)!r}, which is not a file beside it"
            )
        if not (path.parent / name).is_file():
            raise CheckpointError(
                f"names the file {shown(name)!r}, which is not beside it; "
                "download it as well"
            )
        shards[name] = _open(path.parent / name, stack, None).tensors
    found = {key: name for name, shard in shards.items() for key in shard}
    if found != places:
        raise CheckpointError(
            "names other weights than the files beside it contain; get new "
            "copies of all"
        )
    return Contents(
        {key: shards[name][key] for key, name in places.items()},
        prefix=wanted or "",
    )


_MAX_INDEX = 1 << 24
_SHARD = re.compile(r".*-(\d{5})-of-(?!00001)(\d{5})\.(safetensors|bin)")


# Formats ---------------------------------------------------------------------


_Matcher = Callable[[bytes, pathlib.Path], bool]
_Opener = Callable[[pathlib.Path, contextlib.ExitStack, str | None], Contents]

_FORMATS: list[tuple[str, _Matcher, _Opener]] = [
    ("Keras", is_archive, open_archive),
    ("PyTorch", lambda h, _: h.startswith(b"PK\x03\x04"), open_zip),
    # Protocols above 2 put a frame, of 9 bytes, before the number.
    ("legacy PyTorch", lambda h, _: LEGACY_MAGIC in h[:32], open_legacy),
    ("Keras HDF5", lambda h, _: h.startswith(b"\x89HDF\r\n\x1a\n"), open_hdf5),
    # No magic number: 8 bytes of a JSON header's length, then its brace.
    ("safetensors", lambda h, _: h[4:9] == b"\0\0\0\0{", open_safetensors),
    (
        "index",
        lambda h, path: (
            h.lstrip()[:1] == b"{" and path.name.endswith(".index.json")
        ),
        _open_index,
    ),
]


def _recognize(head: bytes, path: pathlib.Path) -> tuple[str, _Opener]:
    for label, matches, opener in _FORMATS:
        if matches(head, path):
            return label, opener
    raise CheckpointError(
        fault_of_file(head, path)
        or "is of an unknown format, not one of "
        f"{', '.join(label for label, _, _ in _FORMATS)}; check the path"
    )
