"""Files that no reader sees half-written, and locks on folders.

A new file is written into a hidden folder beside its place, `.new-<number>`,
flushed to disk, and only then renamed. At every moment a file is therefore
either the old or the new one, for any number of writers, readers and power
cuts. Python has no system call that replaces a *folder* that is not empty:
between two renames, for some microseconds, neither the old nor the new one
exists. If a writer is killed at this moment, the old one stays in its hidden
folder, and the next writer restores it.

A writer locks a file beside its hidden folder. The operating system releases
the locks of a dead process, so the next writer to the same place recognizes
abandoned hidden folders and removes them. File systems without locks (some
network mounts) are written to in the same way, without such cleanup.
"""

import contextlib
import os
import pathlib
import re
import shutil
import socket
import sys
import uuid
from collections.abc import Iterator

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_PREFIX = ".new-"
# Locked by the process that moves files into place.
_PUBLISHING = f"{_PREFIX}publishing.lock"
_LOCK = re.compile(
    rf"({re.escape(_PREFIX)}(?:[0-9a-f]{{32}}|publishing))\.lock"
)
# Inside a hidden folder: finished files, and folders that they replace.
_NEW, _BEFORE = "new", "before"
# Windows locks bytes, which other processes then can't read.
_LOCKED_BYTE = 1 << 30


class WriteError(OSError):
    """A file can't be written. Existing content is unchanged.

    Args:
        path: The file, or the directory.
        reason: Message of the operating system.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(
            f"Can't write '{path}': {reason}. Existing content is unchanged."
        )
        self.reason = reason


class InUseError(OSError):
    """Another process holds the lock on a folder."""


def write(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file, or replace it.

    Args:
        path: The file. The target of a symbolic link is replaced.
        content: New content of the file.

    Raises:
        WriteError: If the file can't be written, such as on a full disk.

    Example:
    >>> write("result.json", b"{}")
    """
    with replacing(path) as part:
        part.write_bytes(content)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Write a file under a temporary path, and move it into place.

    Args:
        path: The file. The target of a symbolic link is replaced.

    Yields:
        The temporary path, with the same file name. If the block raises or
        writes nothing, `path` is unchanged.

    Raises:
        WriteError: If the file can't be written, such as on a full disk.

    Example:
    >>> with replacing("model.keras") as part:
    ...     model.save(part)
    """
    target = pathlib.Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise WriteError(path, "It is not a regular file")
    with _in_a_sentence(path), _staging(target.parent) as folder:
        yield folder / _NEW / target.name
        publish(folder)


@contextlib.contextmanager
def staging(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """Make a hidden folder in which to prepare the content of a directory.

    Hidden folders of processes that died are removed first.

    Args:
        directory: An existing directory.

    Yields:
        The hidden folder, inside `directory`. It contains an empty folder
        `new`, for `publish`, and is removed at the end.

    Raises:
        WriteError: If the block runs into a full or read-only disk.
    """
    with _in_a_sentence(directory), _staging(directory) as folder:
        yield folder


def publish(folder: pathlib.Path) -> None:
    """Move files and folders from `new` in a hidden folder to its directory.

    Existing ones of the same names are replaced, each as a whole. Processes
    that publish in one directory wait for each other, unless each publishes
    a single file.

    Args:
        folder: Folder that `staging` yielded.

    Raises:
        OSError: If they can't be moved.
    """
    directory = folder.parent
    made = sorted((folder / _NEW).iterdir())
    for path in made:
        _synchronize(path)
    with contextlib.ExitStack() as stack:
        if len(made) > 1 or any(path.is_dir() for path in made):
            stack.enter_context(_locked(directory / _PUBLISHING, wait=True))
        for path in made:
            _move(path, directory / path.name, folder / _BEFORE)
    _synchronize_folder(directory)


@contextlib.contextmanager
def lock(folder: pathlib.Path) -> Iterator[None]:
    """Lock an existing folder against other processes.

    The operating system releases the lock when the process ends, however it
    ends. File systems without locks admit every process.

    Raises:
        InUseError: If this or another process already holds the lock.
        WriteError: If the folder can't be written to.

    Example:
    >>> with lock(pathlib.Path(".")):
    ...     write("result.json", b"{}")
    """
    path, holder = folder / ".lock", ""
    with contextlib.ExitStack() as stack:
        try:
            with _in_a_sentence(folder):
                file = stack.enter_context(_locked(path))
                os.ftruncate(file, 0)
                holder = f"{os.getpid()} on {socket.gethostname()}"
                os.write(file, holder.encode())
        except BlockingIOError:
            with contextlib.suppress(OSError):
                holder = path.read_text("utf-8")
            raise InUseError(
                f"'{folder}' is in use by process {holder or 'unknown'}. Wait "
                "until it ends, or stop it."
            ) from None
        yield


@contextlib.contextmanager
def _staging(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    _sweep(directory)
    with contextlib.ExitStack() as stack:
        while True:
            folder = directory / f"{_PREFIX}{uuid.uuid4().hex}"
            lock = folder.with_name(f"{folder.name}.lock")
            # Another process that sweeps may lock it first and remove it.
            with contextlib.suppress(BlockingIOError):
                stack.enter_context(_locked(lock))
                break
        try:
            (folder / _NEW).mkdir(parents=True)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _move(
    new: pathlib.Path, target: pathlib.Path, before: pathlib.Path
) -> None:
    if not target.exists() or not (new.is_dir() or target.is_dir()):
        if target.is_file():
            shutil.copymode(target, new)
        new.replace(target)
        return
    before.mkdir(exist_ok=True)
    old = target.rename(before / target.name)
    try:
        new.rename(target)
    except BaseException:
        old.rename(target)
        raise


def _synchronize(path: pathlib.Path) -> None:
    """Wait until a file, or all of a folder, is on the disk."""
    if path.is_dir():
        for each in path.iterdir():
            _synchronize(each)
        _synchronize_folder(path)
        return
    file = os.open(path, os.O_RDWR)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _synchronize_folder(path: pathlib.Path) -> None:
    # Not every operating system and file system supports this.
    with contextlib.suppress(OSError):
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def _sweep(directory: pathlib.Path) -> None:
    """Remove hidden folders of processes that died, as far as possible."""
    for lock in directory.glob(f"{_PREFIX}*.lock"):
        match = _LOCK.fullmatch(lock.name)
        # A living process holds the lock, or another one sweeps.
        with contextlib.suppress(OSError):
            if match:
                with _locked(lock, make=False):
                    _put_back(directory / match[1] / _BEFORE, directory)
                    shutil.rmtree(directory / match[1])


def _put_back(before: pathlib.Path, directory: pathlib.Path) -> None:
    if before.exists():
        with _locked(directory / _PUBLISHING):
            for old in before.iterdir():
                if not (directory / old.name).exists():
                    old.rename(directory / old.name)


@contextlib.contextmanager
def _locked(
    path: pathlib.Path, wait: bool = False, make: bool = True
) -> Iterator[int]:
    """Lock a file, which is removed at the end.

    Args:
        path: The file.
        wait: Whether to wait for the process that has locked it.
        make: Whether to make the file. If not, it must exist, and its file
            system must support locks.

    Yields:
        The file's descriptor.

    Raises:
        BlockingIOError: If another process has locked it.
    """
    file = _open_locked(path, wait, make)
    try:
        yield file
    finally:
        # Windows can't remove a file that any process has opened. Elsewhere
        # it can be removed, and after closing it might be another process's.
        if sys.platform == "win32":
            os.close(file)
        with contextlib.suppress(OSError):
            path.unlink()
        if sys.platform != "win32":
            os.close(file)


def _open_locked(path: pathlib.Path, wait: bool, make: bool) -> int:
    while True:
        file = os.open(path, os.O_RDWR | (os.O_CREAT if make else 0), 0o666)
        try:
            _acquire(file, wait, make)
            # The process that had locked it may have removed it.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), os.stat(path)):
                    return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _acquire(file: int, wait: bool, make: bool) -> None:
    try:
        if sys.platform == "win32":
            os.lseek(file, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(file, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
            os.lseek(file, 0, os.SEEK_SET)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError as error:
        if sys.platform == "win32":
            raise BlockingIOError(*error.args) from None
        if not make:
            raise


@contextlib.contextmanager
def _in_a_sentence(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except WriteError as error:
        # It names a file in the hidden folder, unknown to the caller.
        raise WriteError(path, error.reason) from error
    except BlockingIOError:
        raise
    except OSError as error:
        raise WriteError(path, error.strerror or str(error)) from error
