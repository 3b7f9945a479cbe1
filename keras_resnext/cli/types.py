"""Types of arguments."""

import argparse
import pathlib


def path(word: str) -> pathlib.Path:
    """Return a path, with the `~` that shells keep in `--output=~/file`."""
    return pathlib.Path(word).expanduser()


def positive(word: str) -> int:
    """Return a positive whole number."""
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number
