"""Which pictures an epoch takes, in which order, on which worker."""

import dataclasses

import numpy as np
import pytest

# isort: split
from pipeline.sources import Lookup
from pipeline.sources import Plan

COUNT = 23
PICTURES = Lookup(
    np.arange(COUNT * 3, dtype=np.uint8).reshape(COUNT, 1, 1, 3),
    np.arange(COUNT) % 5,
)


def taken(plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """First channels, which tell the pictures, and positions."""
    triples = list(PICTURES.training(plan).as_numpy_iterator())
    contents, classes, places = (
        np.array(each) for each in zip(*triples, strict=True)
    )
    numbers = contents[:, 0, 0, 0] // 3
    np.testing.assert_array_equal(classes, numbers % 5)
    return numbers, places


def test_an_epoch_takes_each_once_but_for_the_rest() -> None:
    numbers, places = taken(Plan(0, 0, 4))
    assert len(set(numbers)) == len(numbers) == 20
    np.testing.assert_array_equal(places, np.arange(20))
    assert list(numbers) != sorted(numbers)


def test_order_follows_from_seed_and_epoch() -> None:
    first, _ = taken(Plan(0, 0, 4))
    again, _ = taken(Plan(0, 0, 4))
    np.testing.assert_array_equal(first, again)
    for other in (Plan(0, 1, 4), Plan(1, 0, 4)):
        assert (taken(other)[0] != first).any()


def test_an_epoch_goes_on_where_it_was() -> None:
    plan = Plan(3, 2, 4)
    whole = taken(plan)
    rest = taken(dataclasses.replace(plan, first_step=3))
    for all_of_it, part in zip(whole, rest, strict=True):
        np.testing.assert_array_equal(part, all_of_it[12:])


def test_workers_share_each_batch() -> None:
    plan = Plan(3, 2, 4)
    shares = [
        dataclasses.replace(plan, worker=worker, workers=2)
        for worker in range(2)
    ]
    for kind in range(2):
        whole = taken(plan)[kind].reshape(-1, 4)
        left, right = (taken(share)[kind].reshape(-1, 2) for share in shares)
        np.testing.assert_array_equal(np.hstack([left, right]), whole)


def test_repeats_stand_beside_one_another() -> None:
    numbers, places = taken(Plan(0, 0, 4, repeats=4))
    assert len(numbers) == 20
    assert len(set(numbers)) == 5
    assert (numbers.reshape(5, 4) == numbers[::4, None]).all()
    assert len(set(places)) == 20


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_in_order(workers: int) -> None:
    seen = [
        int(label)
        for worker in range(workers)
        for _, label, _ in PICTURES.in_order(worker, workers)
    ]
    assert sorted(seen) == sorted(PICTURES.classes.tolist())


def test_parts_are_mixed_and_share_nothing() -> None:
    first, second = PICTURES.part(0, 80), PICTURES.part(80, 100)
    assert first.count + second.count == COUNT
    both = np.concatenate([first.contents, second.contents])
    assert len(np.unique(both[:, 0, 0, 0])) == COUNT
    assert set(second.classes) != {3, 4, 5}
    assert not np.array_equal(
        second.contents, PICTURES.contents[-second.count :]
    )
