"""Language of the code: docstrings open with a verb or a noun."""

import ast
import re

import pytest
from run_script import ROOT

pytestmark = pytest.mark.once

# ruff's D401 holds the imperative of functions; this holds the rest.
OPENING = re.compile(
    r"(What|Whether|Those|Of|As|Who|Where|How|Others|Which|The same)\b"
)


def openings(node):
    """Yield the first lines of docstrings within a module, with their lines."""
    for each in ast.walk(node):
        if isinstance(each, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(each)
            if text:
                yield each.body[0].lineno, text.splitlines()[0]


@pytest.mark.parametrize(
    "folder", ["keras_resnext", "examples", "tests", "weights", "docs"]
)
def test_docstrings_open_with_a_verb_or_a_noun(folder):
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, text in openings(ast.parse(path.read_text("utf-8")))
        if OPENING.match(text)
    ]
    assert not found


def test_the_rule_finds_what_breaks_it():
    lines = openings(ast.parse('def f():\n    """What it does."""'))
    assert [bool(OPENING.match(text)) for _, text in lines] == [True]
