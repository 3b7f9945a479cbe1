"""Models of equal complexity, and rivals of twice the complexity.

The widths are those of Table 2 of the paper (arXiv 1611.05431), which give a
block as many weights as ResNet's. The rivals are Table 4's: deeper, wider, or
of higher cardinality.
"""

from dataclasses import dataclass
from dataclasses import replace

import keras

import keras_resnext
from keras_resnext import FixedCardinality
from keras_resnext import ResNeXtConfig
from keras_resnext import Stem

# Each cardinality, and its bottleneck width.
EQUAL = ((1, 64), (2, 40), (4, 24), (8, 14), (32, 4))
WIDER = FixedCardinality(1, 100)
MORE_PATHS = (FixedCardinality(2, 64), FixedCardinality(64, 4))


@dataclass(frozen=True)
class Candidate:
    """Model of the comparison.

    Args:
        name: Cardinality and bottleneck width, such as "32x4d".
        group: `"equal"` complexity, or at twice the complexity `"deeper"`,
            `"wider"` or `"more paths"`.
        config: Configuration of the model.
    """

    name: str
    group: str
    config: ResNeXtConfig

    @property
    def cardinality(self) -> int:
        """Number of paths of a block."""
        grouping = self.config.grouping
        assert isinstance(grouping, FixedCardinality)
        return grouping.cardinality

    @property
    def label(self) -> str:
        """Unique name in tables."""
        if self.group == "equal":
            return self.name
        return f"{self.name}, {self.group}"

    @property
    def folder(self) -> str:
        """Name in folders."""
        return self.label.replace(", ", "-").replace(" ", "-")


def costs(candidate: Candidate, classes: int) -> tuple[int, int]:
    """Return the parameters and the multiply-adds."""
    size = candidate.config.default_size
    # Without allocating weights.
    with keras.StatelessScope(initialize_variables=False):
        model = keras_resnext.ResNeXt(
            candidate.config,
            weights=None,
            input_shape=(size, size, 3),
            classes=classes,
        )
    complexity = keras_resnext.complexity
    return complexity.num_parameters(model), complexity.multiply_adds(model)


# By hardware: one block per stage on a quarter of the pixels, with half of
# ResNet's channels; and the paper's own 29 layers for CIFAR.
_SMALL = ResNeXtConfig(
    depths=(1, 1, 1),
    grouping=FixedCardinality(*EQUAL[0]),
    out_channels=(128, 256, 512),
    stem=Stem(widths=(32,), kernel_size=3, strides=2, pool=None),
    default_size=32,
)
SCALES = {
    "small": _SMALL,
    "paper": keras_resnext.VARIANTS["resnext29_8x64d"],
}


def candidates(scale: str) -> list[Candidate]:
    """Return the models of a scale, the equal ones by cardinality first."""
    base = SCALES[scale]

    def make(
        group: str, grouping: FixedCardinality, deeper: int = 1
    ) -> Candidate:
        name = f"{grouping.cardinality}x{grouping.bottleneck_width}d"
        depths = tuple(depth * deeper for depth in base.depths)
        config = replace(base, grouping=grouping, depths=depths)
        return Candidate(name, group, config)

    return [
        *(make("equal", FixedCardinality(*pair)) for pair in EQUAL),
        make("deeper", FixedCardinality(*EQUAL[0]), deeper=2),
        make("wider", WIDER),
        *(make("more paths", grouping) for grouping in MORE_PATHS),
    ]
