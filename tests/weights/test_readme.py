"""weights/README.md: as written by weights/readme.py."""

import pytest
from run_script import ROOT

import keras_resnext
from keras_resnext.weights.catalog import default_weights

pytestmark = pytest.mark.once

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(ROOT / "weights"))
    import readme

STALE = "Run `python weights/readme.py`."


def is_small(variant):
    return sum(keras_resnext.VARIANTS[variant].depths) <= 9


def without_large(page):
    """Return the cells of a page, less what needs large models."""
    lines = [line.split(" | ") for line in page.split("\n")]
    for cells in lines:
        variant = cells[0].removeprefix("| ")
        if variant in keras_resnext.VARIANTS and not is_small(variant):
            cells[2:4] = []
    return lines


def test_page_is_current():
    def cost(variant, size, classes):
        if is_small(variant):
            return readme.cost(variant, size, classes)
        return readme.Cost(0, 0)

    current = readme.PATH.read_text("utf-8")
    assert without_large(readme.page(cost)) == without_large(current), STALE


@pytest.mark.slow
def test_whole_page_is_current():
    assert readme.page() == readme.PATH.read_text("utf-8"), STALE


def test_every_network_and_checkpoint_is_there():
    page = readme.PATH.read_text("utf-8")
    for variant in keras_resnext.VARIANTS:
        assert f"\n| {variant} | " in page
    for record in keras_resnext.list_weights():
        assert f"\n| {record.variant} | `{record.tag}` | " in page.replace(
            "**", ""
        )


def test_the_default_is_marked():
    page = readme.PATH.read_text("utf-8").split("\n")
    for variant in keras_resnext.VARIANTS:
        marked = [line for line in page if line.startswith(f"| {variant} | **")]
        default = default_weights(variant)
        assert len(marked) == (default is not None), variant
        assert default is None or f"**`{default.tag}`**" in marked[0]
