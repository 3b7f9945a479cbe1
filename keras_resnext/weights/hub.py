"""Files of the Hugging Face hub, in the cache of its own library.

The cache is shared with that library and those built on it: `blobs` contains
each file under the hub's hash of its content, `snapshots` links to them by
commit and name, and `refs` contains the commit of a branch. Downloads are our
own, since those of the library have no limits.
"""

import contextlib
import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import urllib.parse
import uuid
from collections.abc import Callable
from typing import NamedTuple

from keras_resnext.weights import transfer
from keras_resnext.weights.records import HubFile

COMMIT = re.compile("[0-9a-f]{40}")
_LISTING = 1 << 24  # bytes of a list of files

# huggingface_hub is imported in functions, as its import takes longer than that
# of the rest of the package.


class Listing(NamedTuple):
    """Files of a repository at one commit."""

    commit: str
    files: tuple[str, ...]


def offline() -> bool:
    """Return whether `HF_HUB_OFFLINE` is set."""
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE


def cached(source: HubFile) -> pathlib.Path | None:
    """Return the path of a file in the cache, if it is there."""
    import huggingface_hub

    found = huggingface_hub.try_to_load_from_cache(
        source.repo_id, source.filename, revision=source.revision
    )
    # Besides a path and None, a marker for files that don't exist is returned.
    return pathlib.Path(found) if isinstance(found, str) else None


def content_hash(path: pathlib.Path) -> str | None:
    """Return the hub's hash of a cached file, which is the name of its blob.

    Returns:
        A SHA-256 or the SHA-1 of a git blob, in hex; `None` if the cache has
        no symbolic links, or the hub named the file otherwise.
    """
    if not path.is_symlink():
        return None
    return _hash_or_none(os.path.basename(os.readlink(path)))


def digest(path: pathlib.Path, expected: str) -> str:
    """Return the hash of a file, to compare with the hub's."""
    if len(expected) == 64:
        hashing = hashlib.sha256()
    else:  # as git does
        hashing = hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashing).hexdigest()


def download(
    source: HubFile, check: Callable[[pathlib.Path, str | None], None]
) -> pathlib.Path:
    """Download a file into the cache.

    Args:
        source: The file.
        check: Function of a path and the hub's hash of the file, if the hub
            states one, that raises unless they match.

    Returns:
        The path in the cache.

    Raises:
        OSError: If the hub can't be reached or does not have the file.
    """
    from huggingface_hub.utils import WeakFileLock

    if offline():
        raise ConnectionError("offline mode is on (HF_HUB_OFFLINE)")
    about = transfer.head(_url(source, source.revision), _token())
    commit = about.get("X-Repo-Commit", "")
    linked = "X-Linked-" if "X-Linked-Etag" in about else ""
    etag = about.get(f"{linked}ETag", "").removeprefix("W/").strip('"')
    size = about.get("X-Linked-Size" if linked else "Content-Length", "")
    if not re.fullmatch(r"\w+", commit) or not re.fullmatch(r"[\w-]+", etag):
        raise ConnectionError("the answer is not one of a Hugging Face hub")
    folder = _folder(source.repo_id)
    blob = folder / "blobs" / etag
    expected = _hash_or_none(etag)
    lock = folder.parent / ".locks" / folder.name / f"{etag}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):
        if not blob.exists():
            transfer.save(
                _url(source, commit),
                blob,
                lambda path: check(path, expected),
                token=_token(),
                size=int(size) if size.isdecimal() else None,
                title=source.filename,
            )
    pointer = folder / "snapshots" / commit / source.filename
    if not pointer.exists():
        _link(blob, pointer)
    remember(source.repo_id, source.revision, commit)
    return pointer


def listing(repo_id: str, revision: str) -> Listing:
    """List the files of a repository on the hub.

    Raises:
        OSError: If the hub can't be reached or does not have the repository.
    """
    from huggingface_hub import constants

    if offline():
        raise ConnectionError("offline mode is on (HF_HUB_OFFLINE)")
    answer = io.BytesIO()
    transfer.download(
        f"{constants.ENDPOINT}/api/models/{repo_id}/revision/"
        + urllib.parse.quote(revision, safe=""),
        answer,
        token=_token(),
        largest=_LISTING,
    )
    try:
        found = json.loads(answer.getvalue())
        commit = found["sha"]
        files = tuple(file["rfilename"] for file in found["siblings"])
        if not all(map(is_safe, (commit, *files))):
            raise ValueError
    except (KeyError, TypeError, ValueError) as error:
        raise transfer.DownloadError(
            "the answer is not one of a Hugging Face hub"
        ) from error
    return Listing(commit, files)


def cached_listing(repo_id: str, revision: str) -> Listing | None:
    """Return the files of a repository that are in the cache."""
    folder = _folder(repo_id)
    commit = revision
    with contextlib.suppress(OSError):
        commit = (folder / "refs" / revision).read_text("utf-8").strip()
    snapshot = folder / "snapshots" / commit
    files = tuple(
        path.relative_to(snapshot).as_posix()
        for path in sorted(snapshot.rglob("*"))
        if path.is_file()
    )
    return Listing(commit, files) if files else None


def remember(repo_id: str, revision: str, commit: str) -> None:
    """Record the commit of a branch or tag in the cache, if writable."""
    if revision != commit:
        path = _folder(repo_id) / "refs" / revision
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(commit, "utf-8")


def discard(path: pathlib.Path) -> None:
    """Remove a file from the cache: the links, and the file itself.

    Targets of links outside the cache are kept.
    """
    from huggingface_hub import constants

    cache = pathlib.Path(constants.HF_HUB_CACHE).resolve()
    while True:
        link = os.readlink(path) if path.is_symlink() else None
        if path.parent.resolve().is_relative_to(cache):
            path.unlink(missing_ok=True)
        if link is None:
            return
        path = path.parent / link


def is_safe(name: object) -> bool:
    """Return whether a name from the hub stays inside its folder."""
    if not isinstance(name, str) or "\\" in name:
        return False
    path = pathlib.PurePosixPath(name)
    return (
        bool(path.parts) and not path.is_absolute() and (".." not in path.parts)
    )


def _hash_or_none(etag: str) -> str | None:
    return etag if re.fullmatch("[0-9a-f]{64}|[0-9a-f]{40}", etag) else None


def _folder(repo_id: str) -> pathlib.Path:
    from huggingface_hub import constants

    name = "--".join(["models", *repo_id.split("/")])
    return pathlib.Path(constants.HF_HUB_CACHE) / name


def _url(source: HubFile, revision: str) -> str:
    import huggingface_hub

    return huggingface_hub.hf_hub_url(
        source.repo_id, source.filename, revision=revision
    )


def _token() -> str | None:
    from huggingface_hub.utils import build_hf_headers

    return build_hf_headers().get("authorization")


def _link(blob: pathlib.Path, pointer: pathlib.Path) -> None:
    pointer.parent.mkdir(parents=True, exist_ok=True)
    part = pointer.with_name(f"{pointer.name}.{uuid.uuid4().hex}.incomplete")
    try:
        try:
            part.symlink_to(os.path.relpath(blob, pointer.parent))
        except OSError:  # Windows allows it only in developer mode
            shutil.copyfile(blob, part)
        os.replace(part, pointer)
    finally:
        part.unlink(missing_ok=True)
