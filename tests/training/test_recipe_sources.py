"""Sources of the recipes' fields, and the page that shows them."""

import dataclasses

import pytest
from run_script import ROOT

from keras_resnext.training import recipes

pytestmark = pytest.mark.once

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(ROOT / "docs"))
    import recipes as page


@pytest.mark.parametrize("name", recipes.list_recipes())
def test_every_field_has_a_source(name):
    fields = {field.name for field in dataclasses.fields(recipes.Recipe)}
    fields -= {"name", "sources"}
    sources = recipes.SOURCES[name]
    assert sources.keys() == fields - recipes.without_effect(recipes.get(name))
    known = tuple(recipes.REPOSITORIES)
    assert all(source.text.startswith(known) for source in sources.values())


def test_page_is_current():
    current = page.PATH.read_text("utf-8")
    assert page.page() == current, "Run `python docs/recipes.py`."
