"""Photographs that augmentations are tested on."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def photos() -> list[np.ndarray]:
    """Two photographs, and noise that is gray in the mean."""
    datasets = pytest.importorskip("sklearn.datasets")
    rng = np.random.default_rng(0)
    return [
        *(photo[::2, ::2] for photo in datasets.load_sample_images().images),
        rng.normal(128, 40, (97, 61, 3)).clip(0, 255).astype("uint8"),
    ]
