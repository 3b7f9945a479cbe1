"""Run scripts in processes of their own, and commands in this one."""

import contextlib
import io
import json
import os
import pathlib
import re
import subprocess
import sys
from typing import NamedTuple

import keras

from keras_resnext import cli

ROOT = pathlib.Path(__file__).parents[1]

# Start-up takes longer than a wrong argument's detection, so that many
# command lines share one interpreter. Each one runs the script from its top.
_MANY = """
import contextlib, io, json, runpy, sys
script, *lines = json.loads(sys.argv[1])
run = runpy.run_module
if script.endswith(".py"):
    run = runpy.run_path
results = []
for line in lines:
    sys.argv = [script, *line]
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        try:
            run(script, run_name="__main__")
            code = 0
        except SystemExit as error:
            code = error.code
    results.append((code, stderr.getvalue(), stdout.getvalue()))
print(json.dumps(results))
"""


class Result(NamedTuple):
    """What one of many command lines came to."""

    status: int
    stderr: str
    stdout: str


def run_script(
    name: str, *arguments: object, cwd: pathlib.Path, **environment: str
) -> subprocess.CompletedProcess:
    """Run a script, `"examples/finetune.py"`, or a module, and return it."""
    program = [str(ROOT / name)] if name.endswith(".py") else ["-m", name]
    command = [*program, *map(str, arguments)]
    return _python(command, cwd, environment)


def run_many(
    name: str,
    lines: list[list],
    cwd: pathlib.Path,
    prelude: str = "",
    **environment: str,
) -> list[Result]:
    """What came of each of many command lines of a script or module.

    Args:
        name: The script, as `"examples/finetune.py"`, or `"keras_resnext"`.
        lines: The arguments of each.
        cwd: The folder to run it in.
        prelude: Python code to run before the first.
        **environment: Variables to set.
    """
    task: list = [(ROOT / name).as_posix() if name.endswith(".py") else name]
    task += [[str(word) for word in line] for line in lines]
    command = ["-c", prelude + _MANY, json.dumps(task)]
    done = _python(command, cwd, environment)
    assert done.returncode == 0, done.stderr
    return [Result(*each) for each in json.loads(done.stdout.split("\n")[-2])]


def without_chatter(stderr: str) -> str:
    """Leave out what TensorFlow writes of itself while it is imported."""
    return re.sub(
        r"^(WARNING: All log messages before absl|[IW]\d{4} ).*\n",
        "",
        stderr,
        flags=re.MULTILINE,
    )


def run_commands(lines: list[list], cwd: pathlib.Path) -> list[Result]:
    """Run many command lines of `keras-resnext` in this process.

    Args:
        lines: The arguments of each.
        cwd: The folder to run it in.
    """
    results = []
    for line in lines:
        with (
            contextlib.chdir(cwd),
            contextlib.redirect_stdout(io.StringIO()) as stdout,
            contextlib.redirect_stderr(io.StringIO()) as stderr,
        ):
            try:
                status = cli.main([str(word) for word in line])
            except SystemExit as error:
                status = int(error.code or 0)
        keras.config.set_dtype_policy("float32")
        results.append(Result(status, stderr.getvalue(), stdout.getvalue()))
    return results


def assert_one_sentence(stderr: str, *parts: str) -> None:
    """The last line says what is wrong; there is no more than usage above."""
    *usage, message = stderr.strip().split("\n")
    assert "Traceback" not in stderr
    assert [line.partition(":")[0] for line in usage] in ([], ["usage"]), stderr
    assert "error: " in message
    for part in parts:
        assert part in message


def _python(
    arguments: list[str], cwd: pathlib.Path, environment: dict[str, str]
) -> subprocess.CompletedProcess:
    paths = [str(ROOT), os.environ.get("PYTHONPATH")]
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={
            **os.environ,
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    done.stderr = without_chatter(done.stderr)
    return done
