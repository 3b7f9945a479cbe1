"""The paper's figures, and the report of a wrong one."""

import dataclasses

import pytest

from keras_resnext import paper
from keras_resnext.paper import CLAIMS

pytestmark = pytest.mark.once

WRONG = [
    dataclasses.replace(claim, value=claim.value * share)
    for claim in CLAIMS
    for share in (0.9, 1.1)
    if claim.tolerance is not None
]


@pytest.fixture(scope="module")
def found():
    """Check the claims, then wrong ones, on models built once."""
    return list(paper.check((*CLAIMS, *WRONG)))


@pytest.fixture
def checks(found):
    return found[: len(CLAIMS)]


def test_all_that_is_computed_agrees(checks):
    judged = [check for check in checks if check.agrees is not None]
    assert all(check.agrees for check in judged)
    # Of Tables 1 and 2 all, of the others what needs no training.
    count = {
        table: sum(check.claim.table == table for check in judged)
        for table in paper.TITLES
    }
    assert count == {1: 22, 2: 20, 3: 4, 4: 1, 7: 2}


def test_errors_stand_beside_published_weights(checks):
    found = {
        (check.claim.table, check.claim.quantity, check.claim.weights): (
            check.claim.value,
            check.published,
        )
        for check in checks
        if check.published is not None
    }
    key = (3, "top-1 error, %", "resnext50_32x4d.tv_in1k")
    assert found[key] == (22.2, 22.4)
    assert len(found) == 6


def test_a_changed_claim_is_noticed(found):
    agree = [check.agrees for check in found[len(CLAIMS) :]]
    assert agree == [False] * 98


def test_what_nothing_computes():
    claim = dataclasses.replace(CLAIMS[0], quantity="color")
    with pytest.raises(ValueError, match="no calculation for 'color'"):
        list(paper.check([claim]))
    wide = next(claim for claim in CLAIMS if claim.subject == "Wide ResNet")
    with pytest.raises(ValueError, match="no calculation for 'parameters"):
        list(paper.check([dataclasses.replace(wide, tolerance=0.1)]))
