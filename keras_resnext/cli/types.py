"""Types of arguments."""

import argparse
import pathlib


def path(word: str) -> pathlib.Path:
    """Return a path, with the `~` that shells keep in `--output=~/file`."""
    return pathlib.Path(word).expanduser()


def positive(word: str) -> int:
    """Return a positive whole number."""
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(
            f"must be a whole number from 1, not {word!r}"
        )
    return int(word)
