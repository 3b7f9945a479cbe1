"""Synthetic shapes: their boxes, and their reproduction by a seed."""

import numpy as np
import pytest

from examples.detection import shapes

pytestmark = pytest.mark.once


@pytest.mark.parametrize("size", [64, 128])
def test_boxes_enclose_what_is_drawn(size, monkeypatch):
    """Without noise, the pixels of its color determine the box."""
    monkeypatch.setattr(shapes, "NOISE", 0)
    drawn = shapes.draw(8, size, (0,))
    for plain, objects in zip(drawn.contents, drawn.classes, strict=True):
        for *box, kind, _ in objects[objects[:, 4] >= 0]:
            edges = np.rint(size * np.array(box)).astype(int)
            left, top, right, bottom = edges
            middle = plain[(top + bottom) // 2, (left + right) // 2]
            same = (plain == middle).all(-1)
            rows, columns = (np.flatnonzero(same.any(axis)) for axis in (1, 0))
            found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            np.testing.assert_array_equal(found, edges)
            # Share of its box that a shape can fill.
            share = same[top:bottom, left:right].mean()
            low, high = {0: (0.7, 0.85), 1: (0.45, 1), 2: (0.35, 0.6)}[kind]
            assert low < share <= high


def test_a_seed_draws_the_same_again():
    first, second, other = (
        shapes.dataset(12, 64, seed).splits for seed in (0, 0, 1)
    )
    for name in ("train", "validation"):
        np.testing.assert_array_equal(
            first[name].contents, second[name].contents
        )
        np.testing.assert_array_equal(first[name].classes, second[name].classes)
        assert (first[name].contents != other[name].contents).any()
    held_out, training = first["validation"].contents, first["train"].contents
    assert len(held_out) == 2
    for each in held_out:
        assert (training != each).any((1, 2, 3)).all()


def test_more_images_leave_the_others_as_they_are():
    few, many = (shapes.draw(count, 64, (0, 0)) for count in (3, 6))
    np.testing.assert_array_equal(few.contents, many.contents[:3])


def test_there_are_all_kinds_apart_from_one_another():
    objects = shapes.draw(60, 64, (0, 0)).classes
    kinds = objects[..., 4]
    assert set(kinds[kinds >= 0]) == {0, 1, 2}
    assert set((kinds >= 0).sum(1)) == {1, 2, 3, 4, 5}
    for found in objects:
        boxes = found[found[:, 4] >= 0, :4]
        assert (boxes >= 0).all()
        assert (boxes <= 1).all()
        corner = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
        far = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
        together = np.clip(far - corner, 0, None).prod(-1)
        assert not together[~np.eye(len(boxes), dtype=bool)].any()
