"""Datasets, and their batches by a recipe.

    from keras_resnext import data

    dataset = data.load_dataset("path/to/folder")
    model.fit(
        data.train_batches(dataset, recipe),
        validation_data=data.evaluation_batches(dataset, recipe),
        shuffle=False,  # they are shuffled already
    )

Random transforms of training images are functions of a seed. They run in a
`tf.data` pipeline on any backend of Keras, one image at a time (`mixing`: one
batch), and draw all that is random from their argument `seed`, an int32 tensor
of shape `(2,)`. Functions given the same seed draw the same numbers, so split
it first:

    seeds = tf.random.split(tf.stack([epoch_seed, position]), 2)
    image = crops.flip(crops.random_resized(file, 224, seeds[0]), seeds[1])

Keras' own layers can't replace them: inside `tf.data` they draw from a
`SeedGenerator`, whose state a resumed run does not restore, and most of them
work differently in Keras 3.15 (keras-cv has an older version of them):

- none crops as `crops.random_resized` does; `RandomCrop` keeps the scale;
- `RandomFlip` differs only in its state, as does `RandomCrop` after
  `ZeroPadding2D` from `crops.padded`, if given the size;
- `RandomColorJitter` keeps one order and `RandomBrightness` adds where the
  paper multiplies; none adds PCA lighting;
- `RandAugment` has 11 operations where timm has 15, draws new strengths from
  zero to the factor and computes all 11 for every image;
- no layer implements TrivialAugmentWide;
- `RandomErasing` draws its sides from the scale, without an aspect ratio, and
  with a probability that is itself drawn;
- `MixUp` draws a share for every image of a batch where timm and torchvision
  draw one for all, as does `CutMix`, with an alpha that is also drawn and
  boxes that never leave the image; no layer chooses between the two.
"""

from keras_resnext.data.batches import evaluation_batches as evaluation_batches
from keras_resnext.data.batches import train_batches as train_batches
from keras_resnext.data.datasets import Dataset as Dataset
from keras_resnext.data.datasets import EpochPlan as EpochPlan
from keras_resnext.data.datasets import IndexedSplit as IndexedSplit
from keras_resnext.data.datasets import Split as Split
from keras_resnext.data.datasets import from_arrays as from_arrays
from keras_resnext.data.loading import load_dataset as load_dataset
