"""COCO's measures of correct, of no and of half of the predictions."""

import numpy as np
import pytest

from examples.detection import metrics

pytestmark = pytest.mark.once

LABELS = ("circle", "square")
# Of two images: edges, class, and whether it is uncertain.
TRUE = [
    np.array([[0, 0, 40, 40, 0, 0], [50, 50, 150, 150, 1, 0]], np.float32),
    np.array([[10, 20, 30, 60, 1, 0]], np.float32),
]


def found(shift=0.0):
    """All of it, the right edges shifted by a share of the width."""
    moved = [each.copy() for each in TRUE]
    for each in moved:
        each[:, 2] += shift * (each[:, 2] - each[:, 0])
        each[:, 5] = 0.9
    return moved


NOTHING = [np.empty((0, 6), np.float32)] * 2


def test_what_is_right_has_one():
    measures = metrics.measure(TRUE, found(), LABELS)
    assert measures.map == pytest.approx(1)
    assert measures.map50 == measures.map75 == pytest.approx(1)
    assert measures.classes == pytest.approx({"circle": 1.0, "square": 1.0})
    assert measures.small == measures.medium == measures.large
    assert measures.large == pytest.approx(1)


def test_nothing_found_has_none():
    measures = metrics.measure(TRUE, NOTHING, LABELS)
    assert measures.map == measures.map50 == 0
    assert measures.classes == {"circle": 0, "square": 0}


def test_nothing_to_find_is_no_measure():
    measures = metrics.measure(NOTHING, found(), LABELS)
    assert measures.map is None
    assert measures.classes == {"circle": None, "square": None}


def test_overlaps_count():
    # Boxes wider by half overlap by two thirds: at 0.5, 0.55, 0.6 and 0.65.
    measures = metrics.measure(TRUE, found(0.5), LABELS)
    assert measures.map50 == pytest.approx(1)
    assert measures.map75 == 0
    assert measures.map == pytest.approx(0.4)


def test_a_wrong_class_is_wrong():
    wrong = found()
    wrong[0][0, 4] = 1
    measures = metrics.measure(TRUE, wrong, LABELS)
    assert measures.classes["circle"] == 0
    assert 0 < measures.classes["square"] < 1


def test_what_is_uncertain_is_neither_right_nor_wrong():
    uncertain = [each.copy() for each in TRUE]
    uncertain[0][0, 5] = 1
    for guess in (found(), [found()[0][1:], found()[1]]):
        measures = metrics.measure(uncertain, guess, LABELS)
        assert measures.map == pytest.approx(1)
        assert measures.classes["circle"] is None
