"""Run scripts in separate processes, and command lines in this one."""

import contextlib
import io
import os
import pathlib
import re
import subprocess
import sys
import unittest.mock
from collections.abc import Callable
from collections.abc import Iterable
from typing import NamedTuple

import keras

from keras_resnext import cli

ROOT = pathlib.Path(__file__).parents[1]


class Result(NamedTuple):
    """Outcome of a command line."""

    status: int
    stderr: str
    stdout: str


def run_script(
    name: str, *arguments: object, cwd: pathlib.Path
) -> subprocess.CompletedProcess:
    """Run a script, `"examples/finetune.py"`, or a module, and return it."""
    program = [str(ROOT / name)] if name.endswith(".py") else ["-m", name]
    paths = [str(ROOT), os.environ.get("PYTHONPATH")]
    done = subprocess.run(
        [sys.executable, *program, *map(str, arguments)],
        cwd=cwd,
        env={
            **os.environ,
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    done.stderr = without_chatter(done.stderr)
    return done


def without_chatter(stderr: str) -> str:
    """Remove TensorFlow's messages of its import."""
    return re.sub(
        r"^(WARNING: All log messages before absl|[IW]\d{4} ).*\n",
        "",
        stderr,
        flags=re.MULTILINE,
    )


def run_commands(
    lines: Iterable[list],
    cwd: pathlib.Path,
    main: Callable[[], int] = cli.main,
) -> list[Result]:
    """Run many command lines in this process.

    Args:
        lines: The arguments of each.
        cwd: The folder to run it in.
        main: Function that runs each, of `keras-resnext` or of a script.
    """
    results = []
    for line in lines:
        with (
            contextlib.chdir(cwd),
            contextlib.redirect_stdout(io.StringIO()) as stdout,
            contextlib.redirect_stderr(io.StringIO()) as stderr,
            unittest.mock.patch.object(sys, "argv", ["it", *map(str, line)]),
        ):
            try:
                status = main()
            except SystemExit as error:
                status = int(error.code or 0)
        keras.config.set_dtype_policy("float32")
        results.append(Result(status, stderr.getvalue(), stdout.getvalue()))
    return results


def assert_one_sentence(stderr: str, *parts: str) -> None:
    """Assert that the last line is an error, and above it is usage only."""
    *usage, message = stderr.strip().split("\n")
    assert "Traceback" not in stderr
    assert [line.partition(":")[0] for line in usage] in ([], ["usage"]), stderr
    assert "error: " in message
    for part in parts:
        assert part in message
