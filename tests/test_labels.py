"""Names of classes, by the weights."""

import pytest

import keras_resnext
from keras_resnext import labels

pytestmark = pytest.mark.once


def test_the_weights_tell_the_names():
    (cifar10,) = keras_resnext.list_weights("resnext23s_4x32d")
    names = labels.known(cifar10, 10)
    assert names[0] == "airplane"
    assert names[-1] == "truck"
    # As folders are sorted, and as the dataset numbers them.
    assert names == sorted(names)
    assert len(names) == cifar10.classes


def test_else_only_those_of_imagenet_are_known():
    (imagenet, *_) = keras_resnext.list_weights("resnext50_32x4d")
    for record in (imagenet, None):
        assert labels.known(record, 1000)[243] == "bull_mastiff"
        assert labels.known(record, 10) is None
        assert labels.known(record, None) is None
