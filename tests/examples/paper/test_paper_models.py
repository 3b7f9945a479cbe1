"""examples/paper/models.py: equal where the comparison needs them equal."""

import pytest

from examples.paper import models

pytestmark = pytest.mark.once

SCALES = list(models.SCALES)


@pytest.mark.parametrize("scale", SCALES)
def test_equal_networks_cost_the_same(scale):
    found = models.candidates(scale)
    equal = [each for each in found if each.group == "equal"]
    assert [each.cardinality for each in equal] == [1, 2, 4, 8, 32]
    costs = [models.costs(each, 10) for each in equal]
    for figures in zip(*costs, strict=True):
        assert max(figures) < 1.1 * min(figures)


@pytest.mark.parametrize("scale", SCALES)
def test_rivals_cost_about_twice_as_much(scale):
    found = models.candidates(scale)
    parameters, multiply_adds = models.costs(found[0], 10)
    rivals = [each for each in found if each.group != "equal"]
    assert {each.group for each in rivals} == {"deeper", "wider", "more paths"}
    costs = [models.costs(each, 10) for each in rivals]
    for figures, base in zip(
        zip(*costs, strict=True), (parameters, multiply_adds), strict=True
    ):
        # Stem, shortcuts and classifier stay as they are.
        assert 1.45 * base < min(figures)
        assert max(figures) < 1.2 * min(figures) < 2.4 * base


def test_no_two_share_a_folder():
    found = models.candidates("small")
    assert len({each.folder for each in found}) == len(found)
    assert not any(" " in each.folder for each in found)
