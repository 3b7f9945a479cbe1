"""Trains a ResNeXt on ImageNet, by any published recipe.

    python examples/imagenet/train.py
    python examples/imagenet/train.py --recipe a2 --precision bfloat16
    python examples/imagenet/train.py --dataset path/to/folder
    python examples/imagenet/train.py --dry-run --batch-size 8

ImageNet's owners want it downloaded by hand: the script says where to. A
folder that holds train/class/*.jpg and validation/class/*.jpg will do, too.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

# Ahead of all that imports TensorFlow.
import startup  # noqa: F401  (importing it is its use)

# isort: split
from skeleton import arguments
from skeleton import script

DEFAULTS = arguments.Defaults("imagenet2012", "resnext50_32x4d", "paper")

if __name__ == "__main__":
    sys.exit(
        script.main(arguments.parser(__doc__, DEFAULTS), script.from_nothing)
    )
