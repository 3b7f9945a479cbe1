"""How commands print: tables for people, JSON for programs."""

import json
from typing import Any

import rich.box
import rich.console
import rich.table


def print_json(value: Any) -> None:
    """Prints a value as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_pairs(**pairs: str) -> None:
    """Prints what is said of one thing, line by line."""
    for name, text in pairs.items():
        print(f"{name.replace('_', '-'):14} {text}")


def table(*columns: str, title: str | None = None) -> rich.table.Table:
    """An empty table; columns that end in `>` are of numbers."""
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
    """Prints tables; into a pipe or file in full width."""
    console = rich.console.Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = rich.console.Console(
            highlight=False, markup=False, width=1000
        )
    for each in tables:
        console.print(each)
