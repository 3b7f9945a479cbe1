"""Tests of TensorFlow alone: no other backend of Keras would change them."""

import sys

import keras
import numpy as np
import pytest
from run_script import ROOT

collect_ignore_glob = [] if keras.backend.backend() == "tensorflow" else ["*"]
sys.path.append(str(ROOT / "examples"))


@pytest.fixture(scope="session")
def photos() -> list[np.ndarray]:
    """Two photographs, and noise that is grey in the mean."""
    datasets = pytest.importorskip("sklearn.datasets")
    rng = np.random.default_rng(0)
    return [
        *(photo[::2, ::2] for photo in datasets.load_sample_images().images),
        rng.normal(128, 40, (97, 61, 3)).clip(0, 255).astype("uint8"),
    ]
