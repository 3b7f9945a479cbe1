"""README.md: its Python code, run from top to bottom."""

import re

import pytest
from run_script import ROOT

import keras_resnext

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S)


def test_the_quick_start_prints_what_it_shows(capsys):
    scope = {}
    exec(compile(BLOCKS[0], "README.md", "exec"), scope)
    [[(_, name, share)]] = keras_resnext.decode_predictions(
        scope["probabilities"], top=1, model=scope["model"]
    )
    shown = re.search(r"\('2', '(.*)', np.float32\((.*)\)\)", README)
    assert shown[1] == name
    assert float(shown[2]) == pytest.approx(float(share), abs=1e-3)


@pytest.mark.slow
def test_python_runs_as_typed(reader):
    assert len(BLOCKS) >= 10
    scope = {}
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), scope)


def test_links_lead_somewhere():
    for link in re.findall(r"\]\(([^)#\s]+)", README):
        assert link.startswith("http") or (ROOT / link).exists(), link
    titles = re.findall(r"^#+ (.*)", README, re.M)
    anchors = {
        re.sub(r"[^\w\- ]", "", title).replace(" ", "-").lower()
        for title in titles
    }
    for anchor in re.findall(r"\]\(#([^)]+)\)", README):
        assert anchor in anchors
