"""Trains a ResNeXt on CIFAR-10 or CIFAR-100, as the paper did.

    python examples/cifar/train.py
    python examples/cifar/train.py --dataset cifar100
    python examples/cifar/train.py --dry-run

Without arguments the paper's ResNeXt-29, 8x64d, is trained on CIFAR-10, which
TensorFlow Datasets downloads: 300 epochs, a day or more of a GPU. On a
CPU, a small network and 36 epochs do (README.md beside this script).
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

# Ahead of all that imports TensorFlow.
import startup  # noqa: F401  (importing it is its use)

# isort: split
from skeleton import arguments
from skeleton import script

DEFAULTS = arguments.Defaults("cifar10", "resnext29_8x64d", "cifar_paper")

if __name__ == "__main__":
    sys.exit(
        script.main(arguments.parser(__doc__, DEFAULTS), script.from_nothing)
    )
