"""What a run of a training script left, and whether another left the same."""

import pathlib

import numpy as np

from skeleton import checkpoints


def arrays(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Of its last checkpoint."""
    content, _ = checkpoints._read(checkpoints.files(folder)[0])
    return content


def history(folder: pathlib.Path) -> np.ndarray:
    """A row for each epoch, without the time that it took."""
    rows = np.loadtxt(folder / "history.csv", delimiter=",", skiprows=1)
    return rows[:, :-1]


def assert_same(whole: pathlib.Path, parts: pathlib.Path) -> None:
    """To the last bit."""
    expected, found = arrays(whole), arrays(parts)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    np.testing.assert_array_equal(history(parts), history(whole))
