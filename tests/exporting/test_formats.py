"""Choice among the formats."""

import pytest

from keras_resnext.exporting.formats import FORMATS
from keras_resnext.exporting.formats import choose

pytestmark = pytest.mark.once


def test_models_for_images_of_any_size_are_not_written_as_tflite():
    names = [format.name for format in choose(None, "tensorflow", True, True)]
    assert "saved_model" in names
    assert not any("tflite" in name for name in names)
    with pytest.raises(ValueError, match="images of one size only"):
        choose(["saved_model", "tflite"], "tensorflow", True, True)


def test_each_format_has_a_file_of_its_own():
    files = {format.file for format in FORMATS.values()}
    assert len(files) == len(FORMATS)
