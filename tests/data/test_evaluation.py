"""Accuracies of models on labeled images."""

import sys

import color_models
import keras
import numpy as np
import pytest

from keras_resnext import imagenet
from keras_resnext.cli import loading
from keras_resnext.cli import measurements
from keras_resnext.data import evaluation


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    color_models.write_folders()


def test_classes_named_by_wordnet_ids():
    wnids = [each.wnid for each in imagenet.classes()]
    some = [wnids[i] for i in (999, 3, 500)]
    found = evaluation.class_indices(some, 1000, "model")
    assert found.tolist() == [999, 3, 500]
    # A model for only these classes has its own order.
    assert evaluation.class_indices(some, 3, "model").tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"as n01440764, not 'n00000001'\."):
        evaluation.class_indices([*some, "n00000001"], 1000, "model")


def test_a_part_of_a_folder_is_a_mixture(folders):
    images = evaluation.load_labeled("colors", None, None, 9)
    assert images.count == 9
    assert {label for _, label in images.encoded()} == {0, 1, 2}
    assert list(images.encoded()) == list(images.encoded())


def test_folders_do_without_tfds(folders, monkeypatch):
    monkeypatch.delitem(sys.modules, "keras_resnext.data.records", False)
    monkeypatch.delattr("keras_resnext.data.records", raising=False)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    assert evaluation.load_labeled("colors", None, None, None).count == 15
    with pytest.raises(ValueError, match="tensorflow-datasets"):
        evaluation.load_labeled("imagenet2012", None, None, None)


def test_few_images_wait_in_memory(folders):
    images = evaluation.load_labeled("colors", None, None, None)
    begun = []

    def transform(image):
        begun.append(image)
        return np.zeros((8, 8, 3))

    batches = evaluation.transformed(images, transform, 2)
    next(batches)
    assert len(begun) <= 2 * evaluation.AHEAD
    assert sum(len(labels) for _, labels in batches) == 13


def test_channels_first(folders):
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow pools no channels_first on a CPU")
    keras.config.set_image_data_format("channels_first")
    model = color_models.by_color("colors", list(color_models.COLORS.values()))
    images = evaluation.load_labeled("colors", None, None, None)
    transform = loading.transform_for(model)
    tally = evaluation.Tally()
    classifier = evaluation.Classifier.of_model(model, transform)
    steps = list(evaluation.measure(classifier, images, 4, tally))
    assert len(steps) == 4
    assert (tally.images, tally.right, tally.among_five) == (15, 12, 15)


def test_progress_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with measurements.progress("a[b].keras", 15) as show:
        show(evaluation.Tally(images=5, right=4, among_five=5, seconds=2.0))
    shown = capsys.readouterr().err
    for part in ("a[b].keras", "5/15", "top-1 80.00 %", "2.5 images/s"):
        assert part in shown


def test_progress_elsewhere_is_silent(monkeypatch, capsys):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    with measurements.progress("colors.keras", 15) as show:
        show(evaluation.Tally(images=5))
    assert capsys.readouterr().err == ""


@pytest.mark.once
def test_tfds_can_prepare_its_own_datasets():
    """By a package that it imports, and does not require."""
    from keras_resnext.data import records

    assert records.open_builder("cifar10", None).code_path.suffix == ".py"
