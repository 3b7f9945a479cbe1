"""Images with boxes of TFDS, and the batches of them."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from examples.detection import data
from examples.detection import shapes
from keras_resnext.data import EpochPlan
from keras_resnext.training import recipes

pytestmark = pytest.mark.once

RECIPE = recipes.get("retinanet_short", train_size=32, horizontal_flip=False)
WIDTH, HEIGHT = 64, 48
# Top, left, bottom and right edge as shares, the class, whether it's a crowd.
GOOD = [
    ((0.25, 0.5, 0.75, 1.0), "cat", False),
    ((0.0, 0.0, 1.0, 0.5), "dog", True),
]
# Of no height; and of no width within the image.
BAD = [
    ((0.5, 0.1, 0.5, 0.9), "cat", False),
    ((0.1, 1.0, 0.9, 1.0), "dog", False),
]


class Animals(tfds.core.GeneratorBasedBuilder):
    """Gray images, with the boxes above in each."""

    VERSION = tfds.core.Version("1.0.0")
    OBJECTS = (*GOOD, *BAD)

    def _info(self):
        features = tfds.features
        return tfds.core.DatasetInfo(
            builder=self,
            features=features.FeaturesDict(
                {
                    "image": features.Image(shape=(None, None, 3)),
                    "things": features.Sequence(
                        {
                            "bbox": features.BBoxFeature(),
                            "label": features.ClassLabel(names=["cat", "dog"]),
                            "is_crowd": features.Scalar(np.bool_),
                        }
                    ),
                }
            ),
        )

    def _split_generators(self, _):
        return {name: self._generate_examples() for name in ("train", "test")}

    def _generate_examples(self):
        for number in range(3):
            yield (
                number,
                {
                    "image": np.full((HEIGHT, WIDTH, 3), 200, np.uint8),
                    "things": [
                        {
                            "bbox": tfds.features.BBox(*box),
                            "label": label,
                            "is_crowd": crowd,
                        }
                        for box, label, crowd in self.OBJECTS
                    ],
                },
            )


class Nothings(Animals):
    """Dataset without a usable box."""

    VERSION = tfds.core.Version("1.0.0")
    OBJECTS = tuple(BAD)


def test_useless_boxes_are_counted_and_left_out(tmp_path, capsys):
    source = data.dataset("animals", str(tmp_path))
    assert "12 boxes are empty or outside" in capsys.readouterr().out
    assert source.labels == ["cat", "dog"]
    assert source.splits["train"].count == 3
    [(images, objects)] = data.evaluation_batches(
        source.splits["validation"], RECIPE, 3
    )
    assert images.shape == (3, 32, 32, 3)
    # 64 x 48 becomes 32 x 24, and black below.
    expected = [[16, 6, 32, 18, 0, 0], [0, 0, 16, 24, 1, 1]]
    np.testing.assert_allclose(objects, [expected] * 3, atol=1e-4)
    assert np.ptp(images[:, :24], (0, 1, 2)).max() < 1e-5
    assert (images[:, 24:] < images[:, :1]).numpy().all()

    # Crowds are not trained on.
    plan = EpochPlan(seed=0, epoch=0, batch_size=2)
    [(images, boxes)] = data.train_batches(source.splits["train"], RECIPE, plan)
    assert images.shape == (2, 32, 32, 3)
    np.testing.assert_array_equal(boxes["classes"], [[0, -1]] * 2)
    np.testing.assert_allclose(
        boxes["boxes"], [[expected[0][:4], [-1] * 4]] * 2, atol=1e-4
    )


def test_a_data_set_without_objects_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'cifar10' has no boxes"):
        data.dataset("cifar10", str(tmp_path))
    with pytest.raises(ValueError, match="no dataset named 'vox/2007'"):
        data.dataset("vox/2007", str(tmp_path))
    with pytest.raises(ValueError, match="The images of 'nothings' have no"):
        data.dataset("nothings", str(tmp_path))


def test_mirrored_boxes_enclose_the_mirrored_shape():
    source = shapes.dataset(4, 32, 0)
    plan = EpochPlan(seed=0, epoch=0, batch_size=4)
    flips = 0
    [(plain, before)] = data.train_batches(source.splits["train"], RECIPE, plan)
    recipe = RECIPE.override(horizontal_flip=True)
    [(mirrored, after)] = data.train_batches(
        source.splits["train"], recipe, plan
    )
    for i in range(4):
        real = before["classes"][i] >= 0
        boxes, found = before["boxes"][i][real], after["boxes"][i][real]
        if np.array_equal(plain[i], mirrored[i]):
            np.testing.assert_array_equal(found, boxes)
            continue
        flips += 1
        np.testing.assert_array_equal(mirrored[i], plain[i][:, ::-1])
        left, top, right, bottom = np.moveaxis(boxes.numpy(), -1, 0)
        expected = np.stack([32 - right, top, 32 - left, bottom], -1)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert 0 < flips < 4
