"""Spelling suggestions."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a question that names the nearest of the known words.

    Args:
        word: The unknown word.
        known: The valid words.

    Returns:
        The question, after a space, or `""` if nothing is near.
    """
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return f" Did you mean '{by_lower[near[0]]}'?" if near else ""
