"""A short run with averaged weights ends where one without them does."""

import functools

import keras
import numpy as np
import pytest
import sklearn.datasets

import keras_resnext
from keras_resnext import data
from keras_resnext.training import recipes
from keras_resnext.training.models import build_model
from keras_resnext.training.trainer import Trainer

SIZES = ("train_size=16", "evaluation_size=16", "evaluation_resize=16")


# Images of 16x16 pixels, of which shifts by 32 would leave nothing, and a
# learning rate for batches of 32.
FIELDS = (*SIZES, "horizontal_flip=no", "auto_augment=none", "crop_scale=0.5")
RATE = "learning_rate=3.2"


@pytest.mark.slow
def test_ten_epochs_of_torchvisions_recipe(tmp_path):
    source = sklearn.datasets.load_digits()
    pixels = np.kron(source.images * (255 / 16), np.ones((2, 2))).round()
    images = np.repeat(pixels.astype("uint8")[..., None], 3, axis=-1)
    test = np.arange(len(images)) % 4 == 0
    dataset = data.from_arrays(
        (images[~test], source.target[~test]),
        validation=(images[test], source.target[test]),
    )
    config = keras_resnext.ResNeXtConfig(
        depths=(1, 1),
        grouping=keras_resnext.FixedCardinality(8, 16),
        out_channels=(32, 64),
        stem=keras_resnext.Stem((16,), kernel_size=3, strides=1, pool=None),
        default_size=16,
    )

    def accuracy(*fields):
        """Return the validation accuracy after the last epoch of a run."""
        recipe = recipes.get("torchvision_v2").lasting(10)
        recipe = recipe.override(*FIELDS, RATE, *fields)
        build = functools.partial(build_model, config, recipe, dataset.labels)
        directory = tmp_path / "-".join(("run", *fields))
        keras.utils.set_random_seed(0)
        trainer = Trainer(build, dataset, recipe, directory, batch_size=32)
        return trainer.train()[-1]["val_accuracy"]

    averaged, plain = accuracy(), accuracy("ema_decay=0")
    print(f"{averaged:.2%} averaged, {plain:.2%} without averages")
    assert plain > 0.9
    assert abs(averaged - plain) < 0.02
