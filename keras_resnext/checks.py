"""Checks of arguments, each refused with one sentence. Standard library only.

Type hints are the rule: `check_fields` holds a record's values to them.
"""

import math
import numbers
import os
import types
import typing
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from collections.abc import Set
from typing import Any

PATH = str | os.PathLike

_WORDS = {
    bool: "True or False",
    float: "a number",
    int: "a whole number",
    os.PathLike: "a path",
    str: "a string",
    types.NoneType: "None",
}
_PLURALS = {float: "numbers", int: "whole numbers", str: "strings"}


def fits(value: Any, hint: Any) -> bool:
    """Return whether a value is of the type of a hint.

    Args:
        value: A value. NumPy's numbers are numbers, truth values are not; any
            collection of items, except text, passes for a tuple.
        hint: A class, a union, or a tuple of one kind of items.
    """
    if isinstance(hint, types.UnionType):
        return any(fits(value, each) for each in hint.__args__)
    if isinstance(value, bool):
        return hint is bool
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        return (
            isinstance(value, Collection)
            and not isinstance(value, str)
            and all(fits(each, item) for each in value)
        )
    if hint is int:
        return isinstance(value, numbers.Integral)
    if hint is float:
        return isinstance(value, numbers.Real)
    return isinstance(value, hint)


def check_type(name: str, value: Any, hint: Any) -> None:
    """Check the type of an argument.

    Args:
        name: Name of the argument.
        value: Its value.
        hint: Its type hint, as for `fits`.

    Raises:
        TypeError: If the type is wrong.
    """
    if not fits(value, hint):
        raise TypeError(f"`{name}` must be {_words(hint)}. Received: {value!r}")


def check_fields(record: Any) -> None:
    """Check the types of a dataclass's fields.

    Raises:
        TypeError: If one is wrong.
    """
    for name, hint in typing.get_type_hints(type(record)).items():
        check_type(name, getattr(record, name), hint)


def check_classes(classes: Any) -> None:
    """Check a number of classes.

    Raises:
        ValueError: If it is not a positive whole number.
    """
    if not fits(classes, int) or classes < 1:
        raise ValueError(
            f"`classes` must be a positive whole number. Received: {classes!r}"
        )


def check_labels(
    labels: Sequence[str], classes: int, owner: str
) -> tuple[str, ...]:
    """Return names of classes as text.

    Args:
        labels: The names.
        classes: Number of classes.
        owner: Name of the model or layer, for messages.

    Raises:
        TypeError: If they are not a list, or another collection in order.
        ValueError: If there are more or fewer names than classes, or a name
            is not one line of text.
    """
    unordered = isinstance(labels, str | Set | Mapping)
    if unordered or not isinstance(labels, Collection):
        raise TypeError(
            f"`labels` must be a list of {classes} names. Received: {labels!r}"
        )
    if len(labels) != classes:
        raise ValueError(
            f"`labels` must name the {classes} classes of '{owner}'. "
            f"Received {len(labels)} names."
        )
    made = tuple(map(str, labels))
    wrong = [label for label in made if label.splitlines() != [label]]
    if wrong:
        raise ValueError(
            "Each of `labels` must be one line of text, without its end. "
            f"Received: {wrong[0]!r}"
        )
    return made


def check_share(name: str, value: float) -> None:
    """Check that a value is from 0 to below 1.

    Raises:
        TypeError: If it is not a number.
        ValueError: If it is out of range.
    """
    check_type(name, value, float)
    if not 0 <= value < 1:
        raise ValueError(
            f"`{name}` must be at least 0 and below 1. Received: {value!r}"
        )


def check_amount(name: str, value: float) -> None:
    """Check that a value is 0 or positive.

    Raises:
        TypeError: If it is not a number.
        ValueError: If it is negative or infinite.
    """
    check_type(name, value, float)
    if not 0 <= value < math.inf:
        raise ValueError(
            f"`{name}` must be 0 or a positive number. Received: {value!r}"
        )


def _words(hint: Any) -> str:
    """Describe a type for a message."""
    if isinstance(hint, types.UnionType):
        *words, last = dict.fromkeys(map(_words, hint.__args__))
        return f"{', '.join(words)} or {last}"
    if typing.get_origin(hint) is tuple:
        return f"a list of {_PLURALS[typing.get_args(hint)[0]]}"
    if hint in _WORDS:
        return _WORDS[hint]
    article = "an" if hint.__name__[0] in "AEIOU" else "a"
    package = hint.__module__.partition(".")[0]
    owner = "" if package == __package__ else f"{package}."
    return f"{article} {owner}{hint.__name__}"
