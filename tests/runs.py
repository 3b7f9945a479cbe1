"""Contents of run directories, and whether two are the same."""

import pathlib

import numpy as np

from keras_resnext.training import checkpoints


def arrays(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Return the arrays of the last checkpoint."""
    content, _ = checkpoints._read(checkpoints.files(folder)[0])
    return content


def history(folder: pathlib.Path) -> np.ndarray:
    """Return a row for each epoch, without the images per second."""
    rows = np.loadtxt(folder / "history.csv", delimiter=",", skiprows=1)
    return rows[:, :-1]


def assert_same(whole: pathlib.Path, parts: pathlib.Path) -> None:
    """Compare two runs to the last bit."""
    expected, found = arrays(whole), arrays(parts)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    np.testing.assert_array_equal(history(parts), history(whole))
