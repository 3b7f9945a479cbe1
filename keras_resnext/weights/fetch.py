"""Downloads of checkpoints: from a cache, the hub or the web, verified."""

import hashlib
import os
import pathlib
import urllib.parse

from keras_resnext.weights import hub
from keras_resnext.weights import transfer
from keras_resnext.weights.catalog import get_weights
from keras_resnext.weights.files import CheckpointError
from keras_resnext.weights.records import HubFile
from keras_resnext.weights.records import PackageFile
from keras_resnext.weights.records import WebFile
from keras_resnext.weights.records import Weights

BUNDLED = pathlib.Path(__file__).with_name("bundled")


class WeightsUnavailableError(OSError):
    """No source of a checkpoint could be reached."""


def fetch(record: Weights, with_head: bool = True) -> pathlib.Path:
    """Return the path of a checkpoint, downloaded unless it is cached.

    A cached file is used without a connection. Otherwise the sources are tried
    in order, until one can be reached. In either case, the file's content is
    compared with the hash that `source.verified_by` names.

    Args:
        record: The checkpoint.
        with_head: Whether the file must contain the classifier.

    Returns:
        A file in the cache of the Hugging Face hub or of Keras, or of this
        package.

    Raises:
        WeightsUnavailableError: If no source can be reached.
        CheckpointError: If a file's hash is wrong; it is not kept in the
            cache.
    """
    sources = []
    for source in record.sources:
        if isinstance(source, PackageFile):
            return _packaged(source)
        if source.has_top or not with_head:
            sources.append(source)
    for source in sources:
        path = _cached(source)
        if path is not None:
            return path
    failures = []
    for source in sources:
        try:
            return _download(source)
        except CheckpointError:
            raise
        # Whatever the error of one source, the next one is tried, and the
        # message names them all.
        except Exception as error:
            failures.append(f"{_address(source)}: {first_line(error)}")
    raise WeightsUnavailableError(
        f"Can't get the weights '{record.name}'. Check the connection, or "
        "download a file elsewhere and pass its path as `weights`. Tried "
        + "; ".join(failures)
    )


def download_weights(name: str) -> pathlib.Path:
    """Download a published checkpoint, unless it is cached.

    Args:
        name: `"variant.tag"` of `list_weights()`; a variant alone stands for
            its default checkpoint.

    Returns:
        The file, in the cache of the Hugging Face hub or of Keras, or of this
        package. Its hash was checked, if it is known.

    Raises:
        ValueError: If there is no such checkpoint.
        WeightsUnavailableError: If no source can be reached.

    Example:
    >>> path = keras_resnext.download_weights("resnext50_32x4d.a1_in1k")
    """
    return fetch(get_weights(name))


def fetch_file(source: HubFile | WebFile) -> pathlib.Path:
    """Return the path of one file, downloaded unless it is cached.

    Raises:
        OSError: If the file can't be downloaded.
        CheckpointError: If its hash is wrong; it is not kept in the cache.
    """
    path = _cached(source)
    return _download(source) if path is None else path


def _packaged(source: PackageFile) -> pathlib.Path:
    path = BUNDLED / source.filename
    found = _digest(path, "sha256") if path.is_file() else "that of no file"
    if found != source.sha256:
        raise CheckpointError(
            f"'{path}' is not the file it should be: its SHA-256 is {found}, "
            f"expected {source.sha256}. Reinstall keras_resnext."
        )
    return path


def _digest(path: pathlib.Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _cached(source: HubFile | WebFile) -> pathlib.Path | None:
    """Return the path of a file in its cache, verified, if it is there."""
    hub_hash = None
    if isinstance(source, HubFile):
        path = hub.cached(source)
        hub_hash = hub.content_hash(path) if path else None
    else:
        path = _web_path(source)
    if path is None or not path.is_file():
        return None
    fault = _fault(path, source, hub_hash)
    if fault is None:
        return path
    # A link in Keras' cache was made by the user.
    if isinstance(source, HubFile) or not path.is_symlink():
        try:
            discard = hub.discard if isinstance(source, HubFile) else os.unlink
            discard(path)
        except OSError as error:
            reason = f" ({first_line(error)})"
        else:
            raise CheckpointError(
                f"{fault}. It was removed from the cache, where it was "
                f"'{path}'; load again to download it again."
            )
    else:
        reason = ""
    raise CheckpointError(
        f"{fault}. It was left in the cache{reason}; remove '{path}' and load "
        "again to download it again."
    )


def _download(source: HubFile | WebFile) -> pathlib.Path:
    def check(path: pathlib.Path, hub_hash: str | None = None) -> None:
        fault = _fault(path, source, hub_hash)
        if fault is not None:
            raise CheckpointError(
                f"{fault}. It was not kept; load again to download it again, "
                "and if that repeats, don't trust the source."
            )

    if isinstance(source, HubFile):
        path = hub.download(source, check)
        # A blob that already existed has not been checked.
        return _cached(source) or path
    if hub.offline():
        raise ConnectionError("offline mode is on (HF_HUB_OFFLINE)")
    path = _web_path(source)
    transfer.save(source.url, path, check)
    return path


def _web_path(source: WebFile) -> pathlib.Path:
    home = os.environ.get("KERAS_HOME", os.path.join("~", ".keras"))
    name = os.path.basename(urllib.parse.urlsplit(source.url).path)
    if source.sha256_prefix is None and source.md5 is None:
        # Another address may end in the same name.
        address = hashlib.sha256(source.url.encode()).hexdigest()
        name = f"{address[:16]}-{name}"
    return pathlib.Path(home).expanduser() / "models" / name


def _fault(
    path: pathlib.Path, source: HubFile | WebFile, hub_hash: str | None = None
) -> str | None:
    """Return the fault of a file's content, if any.

    Args:
        path: The file.
        source: Its source.
        hub_hash: The hub's hash of the file, if known.
    """
    if isinstance(source, HubFile):
        algorithm, expected = "SHA-256", source.sha256
    elif source.sha256_prefix is not None:
        algorithm, expected = "SHA-256", source.sha256_prefix
    else:
        algorithm, expected = "MD5", source.md5
    if expected is not None:
        found = _digest(path, algorithm.lower().replace("-", ""))
    elif hub_hash is not None:
        algorithm, expected = "hash on the hub", hub_hash
        found = hub.digest(path, hub_hash)
    else:
        return None
    if found.startswith(expected):
        return None
    return (
        f"{_address(source)} is not the file it should be: its {algorithm} is "
        f"{found}, expected {expected}"
    )


def _address(source: HubFile | WebFile) -> str:
    if isinstance(source, WebFile):
        return source.url
    return f"hub file {source.repo_id}/{source.filename}"


def first_line(error: BaseException) -> str:
    line = str(error).strip().partition("\n")[0] or type(error).__name__
    # The hub's errors are general; their causes name the reason.
    cause = str(error.__cause__ or "")
    return line if cause in line else f"{line} ({cause})"
