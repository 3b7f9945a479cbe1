"""What weights/verify.py is made of, apart from its command line."""

import sys

import keras
import numpy as np
import pytest
import subjects
from run_script import ROOT

from keras_resnext import imagenet
from keras_resnext.cli import networks

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(ROOT / "weights"))
    import accuracy
    import labelled
    import results


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    subjects.write_folders()


def test_classes_named_by_wordnet_ids():
    wnids = [each.wnid for each in imagenet.classes()]
    some = [wnids[i] for i in (999, 3, 500)]
    found = labelled.class_indices(some, 1000, "network")
    assert found.tolist() == [999, 3, 500]
    # A network for just these has an order of its own.
    assert labelled.class_indices(some, 3, "network").tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"as n01440764, not 'n00000001'\."):
        labelled.class_indices([*some, "n00000001"], 1000, "network")


def test_a_part_of_a_folder_is_a_mixture(folders):
    pictures = labelled.load("colors", None, None, 9)
    assert pictures.count == 9
    assert {label for _, label in pictures.each()} == {0, 1, 2}
    assert list(pictures.each()) == list(pictures.each())


def test_folders_do_without_tfds(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    assert labelled.load("colors", None, None, None).count == 15
    with pytest.raises(ValueError, match="install tensorflow-datasets"):
        labelled.load("imagenet2012", None, None, None)


def test_few_pictures_wait_in_memory(folders):
    pictures = labelled.load("colors", None, None, None)
    begun = []

    def transform(image):
        begun.append(image)
        return np.zeros((8, 8, 3))

    batches = labelled.batches(pictures, transform, 2)
    next(batches)
    assert len(begun) <= 2 * labelled.AHEAD
    assert sum(len(labels) for _, labels in batches) == 13


def test_channels_first(folders):
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow pools no channels_first on a CPU")
    keras.config.set_image_data_format("channels_first")
    model = subjects.by_color("colors", list(subjects.COLORS.values()))
    pictures = labelled.load("colors", None, None, None)
    transform = networks.transform_for(model)
    tally = accuracy.Tally()
    steps = list(accuracy.measure(model, transform, pictures, 4, tally))
    assert len(steps) == 4
    assert (tally.images, tally.right, tally.among_five) == (15, 12, 15)


def test_progress_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with results.progress("a[b].keras", 15) as show:
        show(accuracy.Tally(images=5, right=4, among_five=5, seconds=2.0))
    shown = capsys.readouterr().err
    for part in ("a[b].keras", "5/15", "top-1 80.00 %", "2.5 images/s"):
        assert part in shown


def test_progress_elsewhere_is_silent(monkeypatch, capsys):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    with results.progress("colors.keras", 15) as show:
        show(accuracy.Tally(images=5))
    assert capsys.readouterr().err == ""
