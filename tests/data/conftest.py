"""Tests of TensorFlow alone: no other backend of Keras would change them."""

import pathlib

import keras
import numpy as np
import pytest

# What other backends would compute in the same way.
collect_ignore = [
    path.name
    for path in pathlib.Path(__file__).parent.glob("test_*.py")
    if keras.backend.backend() != "tensorflow"
    and path.name not in ("test_evaluation.py", "test_fit.py")
]


@pytest.fixture(scope="session")
def photos() -> list[np.ndarray]:
    """Two photographs, and noise that is gray in the mean."""
    datasets = pytest.importorskip("sklearn.datasets")
    rng = np.random.default_rng(0)
    return [
        *(photo[::2, ::2] for photo in datasets.load_sample_images().images),
        rng.normal(128, 40, (97, 61, 3)).clip(0, 255).astype("uint8"),
    ]
