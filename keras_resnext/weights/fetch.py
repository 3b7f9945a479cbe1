"""Fetches a checkpoint: from a cache, the hub or the web; and verifies it."""

import contextlib
import hashlib
import http
import os
import pathlib
import shutil
import urllib.parse
import urllib.request
import uuid
from typing import IO

from keras_resnext.weights.files import CheckpointError
from keras_resnext.weights.records import HubFile
from keras_resnext.weights.records import PackageFile
from keras_resnext.weights.records import WebFile
from keras_resnext.weights.records import Weights

TIMEOUT = 30  # seconds that a server may stay silent
OURS = pathlib.Path(__file__).with_name("ours")
ATTEMPTS = 3  # at a file whose connection the hub resets


class WeightsUnavailableError(OSError):
    """No source of a checkpoint could be reached."""


def fetch(record: Weights, with_head: bool = True) -> pathlib.Path:
    """Returns the path of a checkpoint, downloaded unless it is cached.

    What is in a cache is used without asking the network. Else the sources
    are tried in their order, the next one when one can't be reached. What the
    catalogue knows of a file's hash is checked every time.

    Args:
        record: The checkpoint.
        with_head: Whether the file must hold the classifier.

    Returns:
        A file in the cache of the Hugging Face hub or of Keras, or of this
        package.

    Raises:
        WeightsUnavailableError: If no source can be reached.
        CheckpointError: If a file's hash is wrong; a downloaded one is
            removed.
    """
    sources = []
    for source in record.sources:
        if isinstance(source, PackageFile):
            return _packaged(source)
        if source.has_top or not with_head:
            sources.append(source)
    for source in sources:
        cached = _cached(source)
        if cached is not None:
            _verify(cached, source)
            return cached
    failures = []
    for source in sources:
        try:
            path = _download(source)
        # Every library below has its own family of errors; whatever it is,
        # the next source gets its turn and the report names them all.
        except Exception as error:
            failures.append(f"{_address(source)}: {first_line(error)}")
            continue
        _verify(path, source)
        return path
    raise WeightsUnavailableError(
        f"Can't get the weights '{record.name}'. Check the network, or "
        "download a file elsewhere and pass its path as `weights`. Tried "
        + "; ".join(failures)
    )


def _packaged(source: PackageFile) -> pathlib.Path:
    path = OURS / source.filename
    found = _digest(path, "sha256") if path.is_file() else "that of no file"
    if found != source.sha256:
        raise CheckpointError(
            f"'{path}' is not the file it should be: its SHA-256 is {found}, "
            f"expected {source.sha256}. Install keras_resnext anew."
        )
    return path


def _digest(path: pathlib.Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


# huggingface_hub is imported in functions, as it takes longer than the rest of
# the package together.


def _cached(source: HubFile | WebFile) -> pathlib.Path | None:
    import huggingface_hub

    if isinstance(source, WebFile):
        path = _web_path(source)
        return path if path.is_file() else None
    found = huggingface_hub.try_to_load_from_cache(
        source.repo_id, source.filename, revision=source.revision
    )
    # Apart from a path and None there is a mark for files that don't exist.
    return pathlib.Path(found) if isinstance(found, str) else None


def _download(source: HubFile | WebFile) -> pathlib.Path:
    from huggingface_hub import constants

    if isinstance(source, HubFile):
        return _download_hub(source)
    if constants.HF_HUB_OFFLINE:
        raise ConnectionError("offline mode is on (HF_HUB_OFFLINE)")
    path = _web_path(source)
    _download_web(source.url, path)
    return path


def _download_hub(source: HubFile) -> pathlib.Path:
    """Downloads into the hub's cache, with what its library leaves to do.

    That asks a hub that is silent for more than six minutes, and gives up
    when the connection is reset, though not when it ends or falls silent.
    """
    import huggingface_hub
    from huggingface_hub import errors

    place = source.repo_id, source.filename
    url = huggingface_hub.hf_hub_url(*place, revision=source.revision)
    with contextlib.suppress(errors.HfHubHTTPError):  # an answer of a kind
        huggingface_hub.get_hf_file_metadata(url, timeout=TIMEOUT)
    attempts = ATTEMPTS
    while True:
        attempts -= 1
        try:
            return pathlib.Path(
                huggingface_hub.hf_hub_download(
                    *place, revision=source.revision
                )
            )
        except Exception as error:
            if not attempts or not _was_reset(error):
                raise


def _was_reset(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ConnectionResetError):
        error = error.__cause__ or error.__context__
    return error is not None


def _web_path(source: WebFile) -> pathlib.Path:
    home = os.environ.get("KERAS_HOME", os.path.join("~", ".keras"))
    name = os.path.basename(urllib.parse.urlsplit(source.url).path)
    return pathlib.Path(home).expanduser() / "models" / name


def _download_web(url: str, path: pathlib.Path) -> None:
    """Downloads under a name of its own, and renames what is whole.

    keras.utils.get_file writes in place, where a half-written file, or one
    that another process writes, would be taken for the whole one; it waits
    for a silent server for ever, and starts over when a connection breaks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("wb") as file:
            while True:
                before = file.tell()
                try:
                    _append(url, file, path.name)
                    break
                except Exception:
                    if file.tell() <= before:
                        raise
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _append(url: str, file: IO[bytes], name: str) -> None:
    """Downloads what a file lacks, or all where a server knows no ranges."""
    from huggingface_hub.utils import tqdm

    headers = {"Range": f"bytes={file.tell()}-"} if file.tell() else {}
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            file.seek(0)
            file.truncate()
        with tqdm.wrapattr(
            response, "read", total=response.length, desc=name
        ) as stream:
            shutil.copyfileobj(stream, file)
    if response.length:
        found = file.tell()
        raise ConnectionError(
            f"got only {found} out of {found + response.length} bytes"
        )


def _verify(path: pathlib.Path, source: HubFile | WebFile) -> None:
    if isinstance(source, HubFile):
        algorithm, expected = "sha256", source.sha256
    elif source.sha256_prefix:
        algorithm, expected = "sha256", source.sha256_prefix
    else:
        algorithm, expected = "md5", source.md5
    if expected is None:
        return
    found = _digest(path, algorithm)
    if found.startswith(expected):
        return
    # The hub's cache holds a link to the file proper: both must go.
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    raise CheckpointError(
        f"{_address(source)} is not the file it should be: its {algorithm} "
        f"is {found}, expected {expected}. It was removed; load again to "
        "download it anew, and if that repeats, don't trust the source."
    )


def _address(source: HubFile | WebFile) -> str:
    if isinstance(source, WebFile):
        return source.url
    return f"hub file {source.repo_id}/{source.filename}"


def first_line(error: BaseException) -> str:
    line = str(error).strip().partition("\n")[0] or type(error).__name__
    # The hub's errors say that something happened, and their causes what.
    cause = str(error.__cause__ or "")
    return line if cause in line else f"{line} ({cause})"
