"""Checkpoints by address: on the Hugging Face hub, the web, or this machine."""

import contextlib
import json
import math
import os
import pathlib
import re
import string
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from keras_resnext.checks import PATH
from keras_resnext.checks import check_type
from keras_resnext.data_config import DataConfig
from keras_resnext.weights import hub
from keras_resnext.weights.fetch import WeightsUnavailableError
from keras_resnext.weights.fetch import fetch_file
from keras_resnext.weights.fetch import first_line
from keras_resnext.weights.files import CheckpointError
from keras_resnext.weights.files import listed
from keras_resnext.weights.files import shown
from keras_resnext.weights.records import HubFile
from keras_resnext.weights.records import WebFile

# `pathlib` drops one of two slashes; drives of Windows have one letter.
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)|(hf[-_]hub):(.*)")
_HUB = re.compile(
    r"(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)"
    r"(@(?P<revision>refs/\w+/[^/@]+|[^/@]+))?"
    r"(/(?P<file>.*))?"
)
_HUB_PAGE = re.compile(
    r"(?!api/|datasets/|docs/|spaces/)(?P<repo>[\w.-]+/[\w.-]+)"
    r"(/(blob|raw|resolve|tree)/(?P<revision>refs/\w+/[^/]+|[^/]+)"
    r"(/(?P<file>.*))?)?"
)
# torch.hub's convention: `name-<first hex digits of the SHA-256>.pth`.
_HASH = re.compile(r"-(?!(?:19|20)[0-9]{6}\.)([0-9a-f]{8,64})\.")

_INDEX = "model.safetensors.index.json"
# The best first, as other libraries choose.
_NAMES = (
    "model.safetensors",
    _INDEX,
    "pytorch_model.bin",
    "model.weights.h5",
    "model.keras",
)
_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".h5", ".keras")
_LARGEST_JSON = 1 << 24  # bytes


@dataclass(frozen=True)
class FetchedCheckpoint(os.PathLike[str]):
    """Checkpoint file of an address, usable as a path.

    Args:
        path: The file on this machine.
        address: The address, for example `"hf://owner/name"`.
        data_config: Preparation of images and labels, from timm's
            `config.json` beside the file; `None` without such a file.
    """

    path: pathlib.Path
    address: str
    data_config: DataConfig | None = None

    def __fspath__(self) -> str:
        """Return the path."""
        return os.fspath(self.path)

    def __str__(self) -> str:
        """Return the path, for messages."""
        return str(self.path)


def find_checkpoint(
    path: str | os.PathLike[str],
) -> pathlib.Path | FetchedCheckpoint:
    """Return the file of a path or address, downloaded if needed.

    Args:
        path: A path, where `~` stands for the home folder; or an address:
            `hf://owner/name`, optionally with `@revision` and `/file`, on the
            Hugging Face hub; `https://…`; `file://…`.

    Returns:
        A path, which need not exist, or a `FetchedCheckpoint`.

    Raises:
        ValueError: If the address is of another kind.
        WeightsUnavailableError: If the file can't be downloaded.
        CheckpointError: If a repository contains no weights, or several
            files of weights and none has one of the usual names; or if a
            file's hash is wrong.
    """
    if isinstance(path, FetchedCheckpoint):
        return path
    check_type("path", path, PATH)
    text = os.fspath(path)
    expanded = pathlib.Path(text).expanduser() if text[:1] == "~" else None
    match = _ADDRESS.fullmatch(text)
    if match is None or os.path.exists(text):
        return expanded or pathlib.Path(text)
    scheme, rest = (match[1] or match[3]).lower(), match[2] or match[4] or ""
    if scheme == "file":
        parts = urllib.parse.urlsplit(text)
        if parts.netloc not in ("", "localhost"):
            raise ValueError(
                "A file:// address must name a file of this machine, as in "
                f"file:///folder/file. Received: '{shown(text)}'"
            )
        return pathlib.Path(urllib.request.url2pathname(parts.path))
    if scheme in ("http", "https"):
        return _from_web(f"{scheme}://{rest}")
    if scheme in ("hf", "hf-hub", "hf_hub"):
        address = _HUB.fullmatch(rest.rstrip("/"))
        if address is None:
            raise ValueError(
                "An address on the Hugging Face hub is hf://owner/name, "
                "optionally hf://owner/name@revision/file. Received: "
                f"'{shown(text)}'"
            )
        return _from_hub(**address.groupdict())
    raise ValueError(
        f"Addresses of the kind {scheme}:// can't be opened. Download the file "
        "and pass its path, or use hf://, https:// or file://. Received: "
        f"'{shown(text)}'"
    )


# The web ----------------------------------------------------------------------


def _from_web(address: str) -> FetchedCheckpoint:
    from huggingface_hub import constants

    url = urllib.parse.urlsplit(address)
    hosts = (
        "huggingface.co",
        "hf.co",
        urllib.parse.urlsplit(constants.ENDPOINT).netloc,
    )
    page = _HUB_PAGE.fullmatch(urllib.parse.unquote(url.path).strip("/"))
    if url.netloc in hosts and page is not None:
        return _from_hub(**page.groupdict())
    quoted = urllib.parse.quote(
        urllib.parse.urlunsplit(url._replace(fragment="")),
        safe=string.punctuation,
    )
    digits = _HASH.search(os.path.basename(url.path))
    source = WebFile(quoted, sha256_prefix=digits and digits[1])
    try:
        path = fetch_file(source)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error} (Hex digits at the end of a file's name are taken for "
            "its SHA-256, as by torch.hub. If they are something else, "
            "download the file and pass its path.)"
        ) from error
    except Exception as error:
        raise _unavailable(address, error) from error
    return FetchedCheckpoint(path, address)


def _unavailable(address: str, error: Exception) -> WeightsUnavailableError:
    return WeightsUnavailableError(
        f"Can't get '{shown(address)}': {first_line(error)}. Check the address "
        "and the connection, or download the file and pass its path."
    )


# The hub ----------------------------------------------------------------------


def _from_hub(
    repo: str, revision: str | None, file: str | None
) -> FetchedCheckpoint:
    at = f"@{revision}" if revision else ""
    address = f"hf://{repo}{at}{f'/{file}' if file else ''}"
    revision = urllib.parse.unquote(revision or "main")
    if not hub.is_safe(revision):
        raise ValueError(f"There is no revision {revision!r} of {repo}.")
    try:
        listing = _list(address, repo, revision)
        name = _choose(address, listing.files, (file or "").strip("/"))
        folder = name.rpartition("/")[0]

        def get(name: str) -> pathlib.Path:
            inside = f"{folder}/{name}" if folder else name
            if not hub.is_safe(inside) or inside not in listing.files:
                raise CheckpointError(
                    f"'{address}' lacks the file '{shown(inside)}'."
                )
            return fetch_file(HubFile(repo, inside, listing.commit))

        path = get(name.rpartition("/")[2])
        if name.endswith(".index.json"):
            for shard in _shards(address, path):
                get(shard)
        stated = None
        if (f"{folder}/" if folder else "") + "config.json" in listing.files:
            stated = _stated(address, _read_json(get("config.json")))
    except CheckpointError:
        raise
    except Exception as error:
        raise _unavailable(address, error) from error
    return FetchedCheckpoint(path, address, stated)


def _list(address: str, repo: str, revision: str) -> hub.Listing:
    """List a repository's files on the hub, or in the cache if it fails.

    A commit never changes, so its cache is used first.
    """
    cached = hub.cached_listing(repo, revision)
    if cached and revision == cached.commit and _weights(cached.files):
        return cached
    try:
        listing = hub.listing(repo, revision)
    except OSError as error:
        answered = isinstance(error, urllib.error.HTTPError) and (
            error.code < 500 and error.code != 429
        )
        if cached is None or answered:
            raise
        if not hub.offline():
            warnings.warn(
                f"Can't ask the hub for '{address}' ({first_line(error)}); "
                "using the cache.",
                stacklevel=2,
            )
        return cached
    hub.remember(repo, revision, listing.commit)
    return listing


def _weights(names: Iterable[str]) -> list[str]:
    return [
        name
        for name in names
        if name in _NAMES or (name.endswith(_SUFFIXES) and "/" not in name)
    ]


def _choose(address: str, files: Iterable[str], inside: str) -> str:
    """Return the file of weights of a repository, or of a folder in it."""
    if inside in files:
        return inside
    prefix = f"{inside}/" if inside else ""
    names = [
        name.removeprefix(prefix) for name in files if name.startswith(prefix)
    ]
    found = _weights(names)
    for name in _NAMES:
        if name in found:
            return prefix + name
    if len(found) == 1:
        return prefix + found[0]
    if inside and not names:
        raise CheckpointError(
            f"'{address}' does not exist; the repository contains "
            f"{listed(files)}."
        )
    if not found:
        raise CheckpointError(
            f"'{address}' contains no readable weights. It contains "
            f"{listed(names)}."
        )
    raise CheckpointError(
        f"'{address}' contains several files of weights: {listed(found)}. "
        f"Name one, as in '{address}/{shown(found[0])}'."
    )


def _read_json(path: pathlib.Path) -> Any:
    if path.stat().st_size > _LARGEST_JSON:
        raise CheckpointError(f"'{path}' is too large for a JSON file.")
    try:
        return json.loads(path.read_text("utf-8"))
    except (RecursionError, ValueError) as error:
        raise CheckpointError(
            f"'{path}' is not a JSON file ({first_line(error)})."
        ) from error


def _shards(address: str, path: pathlib.Path) -> list[str]:
    """Return the names of the files that an index lists."""
    index = _read_json(path)
    with contextlib.suppress(AttributeError, KeyError, TypeError):
        names = sorted(set(index["weight_map"].values()))
        if all(isinstance(name, str) for name in names):
            return names
    raise CheckpointError(
        f"The index '{path.name}' of '{address}' lists no files."
    )


# Preprocessing, as timm's config.json states it -------------------------------


def _stated(address: str, config: Any) -> DataConfig | None:
    """Return the data configuration that a `config.json` states."""
    if not isinstance(config, dict) or "architecture" not in config:
        return None  # another library's
    own = config.get("pretrained_cfg", config)
    try:
        # As in timm, labels at the root have priority.
        keys = ("labels", "label_names", "label_descriptions")
        labels = {key: config[key] for key in keys if config.get(key)}
        return _data_config({**own, **labels})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"The config.json of '{address}' can't be understood "
            f"({type(error).__name__}: {shown(first_line(error))})."
        ) from error


def _data_config(stated: dict[str, Any]) -> DataConfig:
    if stated.get("crop_mode", "center") != "center":
        warnings.warn(
            f"config.json states crop_mode={stated['crop_mode']!r}; images "
            "are cropped from the center.",
            stacklevel=2,
        )
    found: dict[str, Any] = {}
    for key in ("mean", "std"):
        if stated.get(key) is not None:
            numbers = tuple(map(_finite, stated[key]))
            found[key] = numbers * 3 if len(numbers) == 1 else numbers
    if stated.get("interpolation"):
        found["interpolation"] = str(stated["interpolation"])
    if stated.get("crop_pct") is not None:
        found["crop_pct"] = _finite(stated["crop_pct"])
    if stated.get("input_size"):
        _, height, width = map(int, stated["input_size"])
        if height == width:
            found["size"] = height
    names = stated.get("label_names") or stated.get("labels")
    if names:
        found["labels"] = _labels(names, stated.get("label_descriptions") or {})
    return DataConfig(**found)


def _finite(number: Any) -> float:
    if not math.isfinite(float(number)):
        raise ValueError(f"{number} is not finite")
    return float(number)


def _labels(names: Any, descriptions: Any) -> tuple[str, ...]:
    if isinstance(names, dict):  # by index, which JSON writes as text
        names = [names[str(index)] for index in range(len(names))]
    labels = tuple(str(descriptions.get(name, name)) for name in names)
    if any(len(label.splitlines()) != 1 for label in labels):
        raise ValueError("a label is not one line of text")
    return labels
