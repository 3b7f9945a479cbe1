import importlib.util
import pathlib

import pytest

from keras_resnext import imagenet

pytestmark = pytest.mark.once


def test_order_and_numbers():
    wnids = [each.wnid for each in imagenet.classes()]
    assert wnids == sorted(set(wnids))
    numbers = [each.challenge for each in imagenet.classes()]
    assert sorted(numbers) == list(range(1, 1001))


def test_challenge_numbers_are_those_of_tensorflow_datasets():
    """Its downsampled ImageNet kept the challenge's numbers."""
    found = importlib.util.find_spec("tensorflow_datasets")
    if found is None:
        pytest.skip("needs tensorflow_datasets")
    path = pathlib.Path(found.origin).parent / "image_classification"
    wnids = (path / "imagenet_resized_labels.txt").read_text().split()
    ours = sorted(imagenet.classes(), key=lambda each: each.challenge)
    assert [each.wnid for each in ours] == wnids
