"""Output of commands: tables for people, JSON for programs."""

import json
import math
import re
import sys
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import rich.box
import rich.console
import rich.table


def printable(text: str) -> str:
    """Escape control characters, which file names may contain."""
    return re.sub(
        r"[\x00-\x1f\x7f-\x9f]", lambda found: f"\\x{ord(found[0]):02x}", text
    )


def print_json(value: Any) -> None:
    """Print a value as JSON; NaN and infinity, which JSON lacks, as null."""
    print(_json(value))


def print_json_list(values: Iterable[Any]) -> None:
    """Print values as one JSON array, each as soon as it is computed."""
    before = "["
    for value in values:
        # Not by `splitlines`: JSON strings may contain other line ends.
        indented = _json(value).replace("\n", "\n  ")
        print(before, indented, sep="\n  ", end="")
        sys.stdout.flush()
        before = ","
    print("[]" if before == "[" else "\n]")


def _json(value: Any) -> str:
    value = _finite(value)
    for ascii_only in (False, True):
        text = json.dumps(
            value, indent=2, ensure_ascii=ascii_only, allow_nan=False
        )
        try:
            # File names may not be valid text, nor fit the terminal's encoding.
            text.encode(sys.stdout.encoding or "utf-8")
            break
        except UnicodeEncodeError:
            continue
    return text


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return value


def print_pairs(**pairs: str) -> None:
    """Print names and values, line by line."""
    for name, text in pairs.items():
        print(f"{name.replace('_', '-'):14} {text}")


def table(*columns: str, title: str | None = None) -> rich.table.Table:
    """Return an empty table; columns that end in `>` are right-aligned."""
    made = rich.table.Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=rich.box.SIMPLE_HEAD,
    )
    for column in columns:
        name = column.removesuffix(">")
        made.add_column(
            name,
            justify="left" if name == column else "right",
            no_wrap=True,
            overflow="fold",
        )
    return made


def show(*tables: rich.table.Table | str) -> None:
    """Print tables, in full width into a pipe or file."""
    console = rich.console.Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = rich.console.Console(
            highlight=False, markup=False, width=1000
        )
    for each in tables:
        console.print(each)
