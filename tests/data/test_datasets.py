"""Images of an epoch, their order, and their share of a worker."""

import dataclasses
import itertools

import numpy as np
import pytest

from keras_resnext.data.datasets import EpochPlan
from keras_resnext.data.datasets import IndexedSplit
from keras_resnext.data.datasets import from_arrays
from keras_resnext.data.datasets import partition

pytestmark = pytest.mark.once

COUNT = 23
IMAGES = IndexedSplit(
    np.arange(COUNT * 3, dtype=np.uint8).reshape(COUNT, 1, 1, 3),
    np.arange(COUNT) % 5,
)


def taken(plan):
    """Return first channels, which identify the images, and positions."""
    examples = list(IMAGES.training(plan).as_numpy_iterator())
    contents, classes, places, epochs = (
        np.array(each) for each in zip(*examples, strict=True)
    )
    assert set(epochs) == {plan.epoch}
    numbers = contents[:, 0, 0, 0] // 3
    np.testing.assert_array_equal(classes, numbers % 5)
    return numbers, places


def test_an_epoch_takes_each_once_but_for_the_rest():
    numbers, places = taken(EpochPlan(0, 0, 4))
    assert len(set(numbers)) == len(numbers) == 20
    np.testing.assert_array_equal(places, np.arange(20))
    assert list(numbers) != sorted(numbers)


def test_order_follows_from_seed_and_epoch():
    first, _ = taken(EpochPlan(0, 0, 4))
    again, _ = taken(EpochPlan(0, 0, 4))
    np.testing.assert_array_equal(first, again)
    for other in (EpochPlan(0, 1, 4), EpochPlan(1, 0, 4)):
        assert (taken(other)[0] != first).any()


def test_an_epoch_goes_on_where_it_was():
    plan = EpochPlan(3, 2, 4)
    whole = taken(plan)
    rest = taken(dataclasses.replace(plan, first_step=3))
    for all_of_it, part in zip(whole, rest, strict=True):
        np.testing.assert_array_equal(part, all_of_it[12:])


def test_workers_share_each_batch():
    plan = EpochPlan(3, 2, 4)
    shares = [
        dataclasses.replace(plan, worker=worker, workers=2)
        for worker in range(2)
    ]
    for kind in range(2):
        whole = taken(plan)[kind].reshape(-1, 4)
        left, right = (taken(share)[kind].reshape(-1, 2) for share in shares)
        np.testing.assert_array_equal(np.hstack([left, right]), whole)


def test_repeats_stand_beside_one_another():
    numbers, places = taken(EpochPlan(0, 0, 4, repeats=4))
    assert len(numbers) == 20
    assert len(set(numbers)) == 5
    assert (numbers.reshape(5, 4) == numbers[::4, None]).all()
    assert len(set(places)) == 20


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_in_order(workers):
    seen = [
        int(label)
        for worker in range(workers)
        for _, label, _ in IMAGES.in_order(worker, workers)
    ]
    assert sorted(seen) == sorted(IMAGES.classes.tolist())


def test_parts_are_mixed_and_share_nothing():
    first, second = IMAGES.part(0, 80), IMAGES.part(80, 100)
    assert first.count + second.count == COUNT
    both = np.concatenate([first.contents, second.contents])
    assert len(np.unique(both[:, 0, 0, 0])) == COUNT
    assert set(second.classes) != {3, 4, 5}
    assert not np.array_equal(second.contents, IMAGES.contents[-second.count :])


def test_another_epoch_in_each_iteration():
    """The epochs of `fit`, the same ones from the same seed."""
    runs = []
    for _ in range(2):
        images = IMAGES.training(EpochPlan(3, None, 4))
        epochs = []
        for _ in range(3):
            contents, *_, epoch = zip(*images.as_numpy_iterator(), strict=True)
            numbers = np.array(contents)[:, 0, 0, 0] // 3
            assert len(set(numbers)) == 20
            assert len(set(epoch)) == 1
            epochs.append([epoch[0], *numbers])
        runs.append(epochs)
    assert len({tuple(epoch) for epoch in runs[0]}) == 3
    np.testing.assert_array_equal(*runs)


def test_images_of_arrays():
    pixels, classes = np.zeros((6, 8, 8, 1), np.uint8), np.arange(6) % 3
    dataset = from_arrays((pixels, classes), test=(pixels[:2], classes[:2]))
    assert dataset.labels == ["0", "1", "2"]
    assert dataset.channels == 1
    assert {name: s.count for name, s in dataset.splits.items()} == {
        "train": 6,
        "test": 2,
    }


@pytest.mark.parametrize(
    ("images", "classes", "labels", "words"),
    [
        (np.zeros((6, 8, 8, 3)), np.arange(6), None, "must be uint8"),
        (np.zeros((6, 8, 8), "uint8"), np.arange(6), None, "of shape"),
        (np.zeros((6, 8, 8, 2), "uint8"), np.arange(6), None, "1 or 3"),
        (np.zeros((6, 8, 8, 3), "uint8"), np.arange(5), None, "6 whole"),
        (np.zeros((6, 8, 8, 3), "uint8"), np.ones(6), None, "whole numbers"),
        (np.zeros((6, 8, 8, 3), "uint8"), np.arange(6) - 1, None, r"\[-1, 4\]"),
        (np.zeros((6, 8, 8, 3), "uint8"), np.arange(6), "abc", r"in \[0, 2\]"),
    ],
)
def test_other_arrays_are_refused(images, classes, labels, words):
    with pytest.raises(ValueError, match=words):
        from_arrays((images, classes), labels=labels)


@pytest.mark.parametrize(
    ("existing", "validation", "expected"),
    [
        (["train"], False, {"train": 80, "validation": 10, "test": 10}),
        (["train", "test"], False, {"train": 100, "test": 100}),
        (
            ["train", "test"],
            True,
            {"train": 90, "validation": 10, "test": 100},
        ),
        (["train", "validation"], True, {"train": 100, "validation": 100}),
    ],
)
def test_purposes_share_no_image(existing, validation, expected):
    parts = partition(existing, validation)
    assert {
        name: end - start for name, (_, start, end) in parts.items()
    } == expected
    for split in existing:
        ends = sorted(p[1:] for p in parts.values() if p[0] == split)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(ends))


def test_a_graph_holds_no_images():
    """It would be written and read anew by each iterator."""
    images = np.zeros((100, 32, 32, 3), "uint8")
    split = IndexedSplit(images, np.zeros(100, "int64"))
    examples = split.training(EpochPlan(0, 0, 10))
    graph = examples._map_func.function.graph.as_graph_def()
    assert graph.ByteSize() < images.nbytes / 2
