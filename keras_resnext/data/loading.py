"""Open a dataset: a folder of images, or a dataset of TensorFlow Datasets."""

import os
import pathlib

from keras_resnext.data import folders
from keras_resnext.data.datasets import Dataset


def load_dataset(
    name: str | os.PathLike[str],
    data_dir: str | None = None,
    corrupt: str = "error",
    validation: bool = False,
) -> Dataset:
    """Open a folder of images, or a dataset by its name in TFDS.

    Args:
        name: An existing folder that contains `class/*.jpg`, or
            `train/class/*.jpg` and `validation/…` or `test/…`; or a name of
            TFDS.
        data_dir: Folder of TFDS' files; `None` for its default.
        corrupt: `"error"` or `"skip"`, for files that are not images.
        validation: Whether a tenth of the training images is set aside for
            validation where only a test set exists.

    Returns:
        A `Dataset`. Where only training images exist, a tenth of them serves
        for validation and a tenth for the test.

    Raises:
        ValueError: If there is no such folder or dataset, or it contains no
            labeled images.
        OSError: If the dataset can't be downloaded, with instructions.

    Example:
    >>> from keras_resnext import data
    >>> dataset = data.load_dataset("path/to/folder")
    >>> dataset.labels
    ['cat', 'dog']
    """
    name = os.fspath(name)
    if os.path.isdir(name):
        return folders.load_folder(pathlib.Path(name), corrupt, validation)
    from keras_resnext.data import records  # which imports TFDS

    return records.load_tfds(name, data_dir, validation)
