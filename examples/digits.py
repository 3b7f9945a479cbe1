"""Scikit-learn's handwritten digits as a TensorFlow Datasets builder.

Importing this file is enough for `tfds.load("digits")`. The pictures come
with scikit-learn; nothing is downloaded. Source: E. Alpaydin and C. Kaynak
(1998), https://doi.org/10.24432/C50P49, license CC BY 4.0.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

TEST_SHARE = 0.25


class Digits(tfds.core.GeneratorBasedBuilder):
    """1,797 grey pictures of 8x8 pixels in a fixed, stratified split."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Handwritten digits, 8x8 pixels in 17 shades of grey.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1)),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://doi.org/10.24432/C50P49",
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        del dl_manager  # The pictures are here already.
        data = load_digits()
        train, test = train_test_split(
            np.arange(len(data.target)),
            test_size=TEST_SHARE,
            stratify=data.target,
            random_state=0,
        )
        return {
            "train": self._generate_examples(data, train),
            "test": self._generate_examples(data, test),
        }

    def _generate_examples(
        self, data: Any, rows: np.ndarray
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for row in rows.tolist():
            # From 0..16 to the full range of a picture's pixels.
            pixels = np.rint(data.images[row] * (255 / 16)).astype("uint8")
            yield (
                row,
                {"image": pixels[..., None], "label": int(data.target[row])},
            )
