"""Files under several writers, killed ones among them, and on full disks."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from keras_resnext import atomic_files

pytestmark = pytest.mark.once

# Imported as a file, since Keras takes seconds.
PRELUDE = f"""
import os, pathlib, resource, signal, sys, time
sys.path.insert(0, {os.path.dirname(atomic_files.__file__)!r})
import atomic_files
"""
# Writes files of one repeated byte, of which no two are of one size.
WRITER = """
while True:
    for byte in sys.argv[2]:
        size = 200_000 + ord(byte)
        atomic_files.write(sys.argv[1], byte.encode() * size)
    print(flush=True)
"""
# The same for folders, and a file beside.
EXPORTER = """
while True:
    for byte in sys.argv[2]:
        with atomic_files.staging(pathlib.Path(sys.argv[1])) as folder:
            (folder / "new" / "model").mkdir()
            for name in ("model/a", "model/b", "c"):
                (folder / "new" / name).write_text(byte * 1000)
            atomic_files.publish(folder)
    print(flush=True)
"""
LINUX = sys.platform == "linux"


def start(program, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill(process):
    process.kill()
    _, stderr = process.communicate()
    assert process.returncode == -signal.SIGKILL, stderr


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_readers_see_whole_files_of_writers_that_are_killed(tmp_path):
    path, seen, left = tmp_path / "model.bin", set(), 0
    chance = random.Random(0)
    for _ in range(6):
        writers = [start(WRITER, path, letters) for letters in ("ab", "cd")]
        for writer in writers:
            writer.stdout.readline()
        end = time.monotonic() + 0.1 + chance.random() / 20
        while time.monotonic() < end:
            content = path.read_bytes()
            assert len(content) == 200_000 + content[0]
            assert content == content[:1] * len(content)
            seen.add(content[:1])
        for writer in writers:
            kill(writer)
        left += len(names(tmp_path)) > 1
    assert seen == {b"a", b"b", b"c", b"d"}
    assert left
    atomic_files.write(path, b"last")
    assert names(tmp_path) == ["model.bin"]


def test_folders_of_writers_that_are_killed(tmp_path):
    chance = random.Random(0)
    for _ in range(6):
        writers = [start(EXPORTER, tmp_path, letter) for letter in "ab"]
        for writer in writers:
            writer.stdout.readline()
        time.sleep(chance.random() / 20)
        for writer in writers:
            kill(writer)
        with atomic_files.staging(tmp_path):
            pass
        assert names(tmp_path) == ["c", "model"]
        # A kill may come between folder and file, but not within a folder.
        assert names(tmp_path / "model") == ["a", "b"]
        a, b = ((tmp_path / "model" / name).read_text() for name in ("a", "b"))
        assert len(a) == 1000
        assert a == b
    with atomic_files.staging(tmp_path) as folder:
        for name in ("model", "other"):
            (folder / "new" / name).write_text("a file")
        atomic_files.publish(folder)
    assert names(tmp_path) == ["c", "model", "other"]
    assert (tmp_path / "model").read_text() == "a file"


def test_a_replaced_folder_is_put_back(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()
    program = (
        """
pathlib.Path.rename = lambda old, new: (
    os.rename(old, new), os.kill(os.getpid(), signal.SIGKILL)
)
"""
        + EXPORTER
    )
    process = start(program, tmp_path, "a")
    assert process.wait() == -signal.SIGKILL
    process.communicate()
    assert "model" not in names(tmp_path)
    atomic_files.write(tmp_path / "any", b"")
    assert names(tmp_path) == ["any", "c", "model"]
    assert names(tmp_path / "model") == ["old"]


def test_a_living_writer_is_left_alone(tmp_path):
    stranger = tmp_path / ".new-mine"
    stranger.mkdir()
    with atomic_files.replacing(tmp_path / "a") as part:
        part.write_text("a")
        atomic_files.write(tmp_path / "b", b"b")
        assert part.read_text() == "a"
    assert names(tmp_path) == [".new-mine", "a", "b"]


def test_what_fails_changes_nothing(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")

    def fail(error):
        with atomic_files.replacing(path) as part:
            part.write_text("half")
            raise error

    for error in (ValueError("no"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            fail(error)
        assert names(tmp_path) == ["a"]
        assert path.read_text() == "old"
    message = "Can't write '.*a': No space left on device. Existing content is"
    full = OSError(28, "No space left on device")
    for error in (full, atomic_files.WriteError("within", full.strerror)):
        with pytest.raises(atomic_files.WriteError, match=message):
            fail(error)
    (tmp_path / "folder").mkdir()
    for place, reason in (
        (tmp_path / "folder", "It is not a regular file"),
        (tmp_path / "no" / "b", "No such file or directory"),
        (path / "b", "Not a directory"),
        (pathlib.Path(os.devnull), "It is not a regular file"),
    ):
        with pytest.raises(atomic_files.WriteError, match=reason):
            atomic_files.write(place, b"new")
    assert names(tmp_path) == ["a", "folder"]


@pytest.mark.skipif(not LINUX, reason="needs a limit on the size of files")
def test_a_full_disk(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    process = start(
        """
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    atomic_files.write(sys.argv[1], b"new" * 1000)
except atomic_files.WriteError as error:
    print(error)
""",
        path,
    )
    said, stderr = process.communicate()
    assert said == (
        f"Can't write '{path}': File too large. "
        "Existing content is unchanged.\n"
    ), stderr
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_links_and_permissions_stay(tmp_path):
    target, link = tmp_path / "disk" / "target", tmp_path / "link"
    target.parent.mkdir()
    target.touch()
    usual = target.stat().st_mode
    atomic_files.write(tmp_path / "new", b"")
    assert (tmp_path / "new").stat().st_mode == usual
    target.chmod(0o640)
    link.symlink_to(target)
    atomic_files.write(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o640
    assert names(target.parent) == ["target"]


def test_one_process_holds_a_folder(tmp_path):
    program = """
with atomic_files.lock(pathlib.Path(sys.argv[1])):
    print(flush=True)
    time.sleep(60)
"""
    holder = start(program, tmp_path)
    holder.stdout.readline()
    expected = f"in use by process {holder.pid} on "
    with (
        pytest.raises(atomic_files.InUseError, match=expected),
        atomic_files.lock(tmp_path),
    ):
        pass
    kill(holder)
    with atomic_files.lock(tmp_path):
        expected = f"in use by process {os.getpid()} on "
        with (
            pytest.raises(atomic_files.InUseError, match=expected),
            atomic_files.lock(tmp_path),
        ):
            pass
        atomic_files.write(tmp_path / "a", b"")
    assert names(tmp_path) == ["a"]
    with (
        pytest.raises(atomic_files.WriteError, match="No such file"),
        atomic_files.lock(tmp_path / "nowhere"),
    ):
        pass


def test_without_locks_nothing_is_swept(tmp_path, monkeypatch):
    def unable(file, operation):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(atomic_files.fcntl, "flock", unable)
    with (
        atomic_files.lock(tmp_path),
        atomic_files.lock(tmp_path),
        atomic_files.replacing(tmp_path / "a") as part,
    ):
        part.write_text("a")
        atomic_files.write(tmp_path / "b", b"b")
    assert names(tmp_path) == ["a", "b"]
