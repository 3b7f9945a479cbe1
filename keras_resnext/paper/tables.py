"""Figures of the paper's tables, beside values that this package computes.

https://arxiv.org/abs/1611.05431, Tables 1, 2, 3, 4 and 7. Figures that follow
from a model's shape are computed and compared. Errors take weeks of training:
they are shown beside those of published weights of the same model, which were
trained by other recipes.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import keras

from keras_resnext import complexity
from keras_resnext.blocks import channel_axis
from keras_resnext.config import FixedCardinality
from keras_resnext.config import ResNeXtConfig
from keras_resnext.models import ResNeXt
from keras_resnext.variants import VARIANTS
from keras_resnext.weights.catalog import get_weights

TITLES = MappingProxyType(
    {
        1: "Table 1: ResNet-50 and ResNeXt-50, layer by layer",
        2: "Table 2: widths that keep a block's complexity",
        3: "Table 3: ImageNet at constant complexity",
        4: "Table 4: ImageNet at twice the complexity",
        7: "Table 7: CIFAR",
    }
)
# For figures of one decimal; two of the paper's are truncated, not rounded.
DECIMAL = 0.1
# Relative, for figures that the paper or its code give with a tilde.
ROUGHLY = 0.03
# Relative: the authors' code gives ResNet's figure for models as complex.
AS_RESNET = 0.04


@dataclass(frozen=True)
class Claim:
    """Figure of the paper.

    Args:
        table: Number of the table.
        subject: The model or block, in the table's words.
        quantity: Quantity and its unit: a key of `QUANTITIES`, or an error.
        value: The figure, as in the paper.
        tolerance: Largest difference from a computed figure; `None` for
            figures that are not computed.
        config: Configuration of the model, `None` for other models.
        weights: Published weights, as `"variant.tag"`, or `None`.
    """

    table: int
    subject: str
    quantity: str
    value: float
    tolerance: float | None = None
    config: ResNeXtConfig | None = None
    weights: str | None = None


@dataclass(frozen=True)
class Check:
    """Claim of the paper beside the figure that was computed for it.

    Args:
        claim: The claim.
        computed: The computed figure, `None` without one.
        published: Error of the published weights in percent (top-5 for a
            top-5 claim, else top-1), `None` without weights.
    """

    claim: Claim
    computed: float | None
    published: float | None

    @property
    def agrees(self) -> bool | None:
        """True if the calculation agrees; `None` without one."""
        if self.computed is None or self.claim.tolerance is None:
            return None
        difference = abs(self.computed - self.claim.value)
        # Allows for rounding of decimal numbers in floats.
        return difference <= self.claim.tolerance + 1e-9


def check(claims: Iterable[Claim]) -> Iterator[Check]:
    """Compute the figures of claims.

    Args:
        claims: Claims of the paper, such as `CLAIMS`.

    Yields:
        A `Check` for each claim, in order. Models are built without their
        weights, each once.

    Raises:
        ValueError: If a claim's quantity can't be computed.

    Example:
    >>> from keras_resnext import paper
    >>> checks = list(paper.check(paper.CLAIMS))
    >>> any(check.agrees is False for check in checks)
    False
    """
    built: dict[ResNeXtConfig, keras.Model] = {}
    for claim in claims:
        computed = None
        if claim.tolerance is not None:
            if claim.config is None or claim.quantity not in QUANTITIES:
                raise ValueError(
                    f"There is no calculation for '{claim.quantity}' of "
                    f"'{claim.subject}'. Use a config and one of: "
                    f"{', '.join(QUANTITIES)}."
                )
            if claim.config not in built:
                built[claim.config] = _build(claim.config)
            computed = QUANTITIES[claim.quantity](
                built[claim.config], claim.config
            )
        yield Check(claim, computed, _published(claim))


def _build(config: ResNeXtConfig) -> keras.Model:
    size = config.default_size
    shape = [size, size]
    shape.insert(channel_axis() - 1, 3)
    classes = 10 if size == 32 else 1000  # CIFAR-10 or ImageNet
    # Without allocating weights.
    with keras.StatelessScope(initialize_variables=False):
        return ResNeXt(config, input_shape=tuple(shape), classes=classes)


def _published(claim: Claim) -> float | None:
    if claim.weights is None:
        return None
    best = get_weights(claim.weights).evaluations[0]
    accuracy = best.top5 if claim.quantity == TOP5 else best.top1
    return None if accuracy is None else round(100 - accuracy, 1)


def _map_size(stage: int, model: keras.Model, config: ResNeXtConfig) -> int:
    layer = "stem_conv1" if stage == 0 else f"stage{stage}_block1_out"
    shape = list(model.get_layer(layer).output.shape[1:])
    shape.pop(channel_axis() - 1)
    return shape[0]


def _conv2_width(stage: int, model: keras.Model, config: ResNeXtConfig) -> int:
    return model.get_layer(f"stage{stage}_block1_conv2").filters


def _constant_width(config: ResNeXtConfig) -> int:
    return complexity.width_at_constant_complexity(_cardinality(config))


def _cardinality(config: ResNeXtConfig) -> int:
    if not isinstance(config.grouping, FixedCardinality):
        raise ValueError("A claim's model must have a cardinality.")
    return config.grouping.cardinality


def _block(model: keras.Model) -> list[complexity.Cost]:
    """Return the convolutions of a block with an identity shortcut."""
    costs = complexity.layer_costs(model)
    return [c for c in costs if c.name.startswith("stage1_block2_conv")]


TOP1 = "top-1 error, %"
TOP5 = "top-5 error, %"
CIFAR10 = "CIFAR-10 error, %"
CIFAR100 = "CIFAR-100 error, %"
PARAMETERS = "parameters, M"
MULTIPLY_ADDS = "multiply-adds, G"
QUANTITIES: Mapping[str, Callable[[keras.Model, ResNeXtConfig], float]] = (
    MappingProxyType(
        {
            PARAMETERS: lambda m, _: complexity.num_parameters(m) / 1e6,
            MULTIPLY_ADDS: lambda m, _: complexity.multiply_adds(m) / 1e9,
            **{f"conv{i + 1} map": partial(_map_size, i) for i in range(5)},
            **{
                f"conv{i + 1} 3x3 width": partial(_conv2_width, i)
                for i in range(1, 5)
            },
            "width d": lambda _, config: _constant_width(config),
            "group conv width": lambda _, config: (
                _cardinality(config) * _constant_width(config)
            ),
            "block parameters, k": lambda m, _: (
                sum(cost.parameters for cost in _block(m)) / 1e3
            ),
            "block multiply-adds, G": lambda m, _: (
                sum(cost.multiply_adds for cost in _block(m)) / 1e9
            ),
        }
    )
)

_50 = VARIANTS["resnext50_32x4d"]
_101 = VARIANTS["resnext101_32x4d"]


def _name(model: str, cardinality: int, width: int) -> str:
    return f"{model}, {cardinality}x{width}d"


def _with(config: ResNeXtConfig, *grouping: int) -> ResNeXtConfig:
    return replace(config, grouping=FixedCardinality(*grouping))


def _table1() -> Iterator[Claim]:
    for model, grouping, parameters, multiply_adds in (
        ("ResNet-50", (1, 64), 25.5, 4.1),
        ("ResNeXt-50", (32, 4), 25.0, 4.2),
    ):
        config = _with(_50, *grouping)
        subject = _name(model, *grouping)
        for index, size in enumerate((112, 56, 28, 14, 7)):
            yield Claim(1, subject, f"conv{index + 1} map", size, 0, config)
        first = 64 if model == "ResNet-50" else 128
        for index in range(4):
            quantity = f"conv{index + 2} 3x3 width"
            yield Claim(1, subject, quantity, first * 2**index, 0, config)
        yield Claim(1, subject, PARAMETERS, parameters, DECIMAL, config)
        yield Claim(1, subject, MULTIPLY_ADDS, multiply_adds, DECIMAL, config)


# Table 2's cardinality and width, and Table 3's errors at 50 and 101 layers.
_CONSTANT = (
    (1, 64, 23.9, 22.0),
    (2, 40, 23.0, 21.7),
    (4, 24, 22.6, 21.4),
    (8, 14, 22.3, 21.3),
    (32, 4, 22.2, 21.2),
)


def _table2() -> Iterator[Claim]:
    for cardinality, width, *_ in _CONSTANT:
        config = _with(_50, cardinality, width)
        for quantity, value, tolerance in (
            ("width d", width, 0),
            ("group conv width", cardinality * width, 0),
            ("block parameters, k", 70, 70 * ROUGHLY),
            ("block multiply-adds, G", 0.22, 0.22 * ROUGHLY),
        ):
            subject = f"C = {cardinality}"
            yield Claim(2, subject, quantity, value, tolerance, config)


def _table3() -> Iterator[Claim]:
    weights = {
        "50": "resnext50_32x4d.tv_in1k",
        "101": "resnext101_32x4d.gluon_in1k",
    }
    for depth, base, multiply_adds in (("50", _50, 4.1), ("101", _101, 7.8)):
        for cardinality, width, *errors in _CONSTANT:
            config = _with(base, cardinality, width)
            model = "ResNet" if cardinality == 1 else "ResNeXt"
            subject = _name(f"{model}-{depth}", cardinality, width)
            if cardinality in (1, 32):
                yield Claim(
                    3,
                    subject,
                    MULTIPLY_ADDS,
                    multiply_adds,
                    multiply_adds * AS_RESNET,
                    config,
                )
            yield Claim(
                3,
                subject,
                TOP1,
                errors[0] if depth == "50" else errors[1],
                config=config,
                weights=weights[depth] if cardinality == 32 else None,
            )


def _table4() -> Iterator[Claim]:
    for model, grouping, top1, top5, weights in (
        ("ResNet-101", (1, 64), 22.0, 6.0, None),
        ("ResNeXt-101", (32, 4), 21.2, 5.6, "resnext101_32x4d.gluon_in1k"),
        ("ResNet-200", None, 21.7, 5.8, None),
        ("ResNet-101, wider", (1, 100), 21.3, 5.7, None),
        ("ResNeXt-101", (2, 64), 20.7, 5.5, None),
        ("ResNeXt-101", (64, 4), 20.4, 5.3, "resnext101_64x4d.gluon_in1k"),
    ):
        config = _with(_101, *grouping) if grouping else None
        subject = _name(model, *grouping) if grouping else model
        if grouping == (64, 4):
            yield Claim(
                4, subject, MULTIPLY_ADDS, 15.6, 15.6 * AS_RESNET, config
            )
        for quantity, error in ((TOP1, top1), (TOP5, top5)):
            yield Claim(
                4, subject, quantity, error, config=config, weights=weights
            )


def _table7() -> Iterator[Claim]:
    for subject, config, parameters, cifar10, cifar100 in (
        ("Wide ResNet", None, 36.5, 4.17, 20.50),
        ("ResNeXt-29, 8x64d", VARIANTS["resnext29_8x64d"], 34.4, 3.65, 17.77),
        ("ResNeXt-29, 16x64d", VARIANTS["resnext29_16x64d"], 68.1, 3.58, 17.31),
    ):
        tolerance = DECIMAL if config else None
        yield Claim(7, subject, PARAMETERS, parameters, tolerance, config)
        for quantity, error in ((CIFAR10, cifar10), (CIFAR100, cifar100)):
            yield Claim(7, subject, quantity, error, config=config)


CLAIMS: Sequence[Claim] = (
    *_table1(),
    *_table2(),
    *_table3(),
    *_table4(),
    *_table7(),
)
