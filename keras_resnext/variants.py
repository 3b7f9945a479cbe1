"""What a ResNeXt is: frozen dataclasses, then the table of variants.

The words are the paper's (Xie et al., 2017, https://arxiv.org/abs/1611.05431):
a "32x4d" network has cardinality 32 and bottleneck width 4. The suffix "d"
(`resnext50d`) is the field's name for a deep stem and average-pooled
shortcuts (He et al., 2018, https://arxiv.org/abs/1812.01187).
"""

from dataclasses import dataclass
from dataclasses import replace
from functools import partial
from types import MappingProxyType


def _check(name: str, value: str | None, *choices: str | None) -> None:
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {choices}. Got {value!r}")


@dataclass(frozen=True)
class Template:
    """The paper's C x d: `cardinality` paths of `bottleneck_width` channels.

    The width is the first stage's; it doubles with the stage's output.

    Args:
        cardinality: Number of groups C, at every stage.
        bottleneck_width: Channels d of one group in the first stage.
    """

    cardinality: int
    bottleneck_width: int

    def __post_init__(self) -> None:
        if min(self.cardinality, self.bottleneck_width) < 1:
            raise ValueError(f"Both numbers must be positive. Received: {self}")

    def width_and_groups(self, out_channels: int) -> tuple[int, int]:
        """Channels and groups of the 3x3 whose block puts out that many."""
        planes = out_channels // 4
        group_width = planes * self.bottleneck_width // 64
        if group_width < 1:
            raise ValueError(
                f"A bottleneck width of {self.bottleneck_width} leaves no "
                f"channel for a group when a block puts out {out_channels}. "
                f"Use a width of at least {-(-64 // max(planes, 1))}."
            )
        return group_width * self.cardinality, self.cardinality


@dataclass(frozen=True)
class GroupWidth:
    """Groups of one width at every stage, as many as it takes.

    Args:
        channels: Channels of one group.
    """

    channels: int

    def width_and_groups(self, out_channels: int) -> tuple[int, int]:
        """Channels and groups of the 3x3 whose block puts out that many."""
        width = out_channels // 4
        if self.channels < 1 or width % self.channels:
            raise ValueError(
                f"Groups of {self.channels} channels don't divide {width}."
            )
        return width, width // self.channels


@dataclass(frozen=True)
class Stem:
    """What comes before the first stage.

    Args:
        widths: Filters of each convolution; more than one is a "deep" stem.
        kernel_size: Kernel size of each of them.
        strides: Strides of the first.
        pool: `"max"` for a 3x3 max pooling of stride 2, `"avg"` for a 2x2
            average pooling, or `None`.
    """

    widths: tuple[int, ...] = (64,)
    kernel_size: int = 7
    strides: int = 2
    pool: str | None = "max"

    def __post_init__(self) -> None:
        _check("pool", self.pool, None, "max", "avg")


@dataclass(frozen=True)
class Attention:
    """What weighs the channels of a block.

    Args:
        kind: `"se"` (squeeze-and-excitation), `"eca"` (efficient channel
            attention) or `"gc"` (global context).
        position: After the `"output"` convolution or in the `"bottleneck"`.
    """

    kind: str
    position: str = "output"

    def __post_init__(self) -> None:
        _check("kind", self.kind, "se", "eca", "gc")
        _check("position", self.position, "output", "bottleneck")


@dataclass(frozen=True)
class ResNeXtConfig:
    """Everything that tells one ResNeXt from another.

    Args:
        depths: Blocks of each stage.
        grouping: How wide and how grouped the 3x3 of a block is.
        out_channels: Channels that each stage puts out.
        stem: What comes before the first stage.
        shortcut: `"conv"`, a strided 1x1 convolution where shapes change
            (the paper's type B), or `"avg"`, a 2x2 average pooling and then
            a 1x1 convolution.
        downsample: `"stride"`, in the 3x3, or `"avg_pool"`, a 2x2 average
            pooling after it instead (anti-aliasing).
        attention: What weighs the channels that a block adds, or `None`.
        activation: Name of the activation, everywhere.
        zero_init_last: Whether training starts with the last scale of each
            block at zero, as timm's does and the paper's does not.
        default_size: Height and width of a picture when none is given.
    """

    depths: tuple[int, ...]
    grouping: Template | GroupWidth
    out_channels: tuple[int, ...] = (256, 512, 1024, 2048)
    stem: Stem = Stem()
    shortcut: str = "conv"
    downsample: str = "stride"
    attention: Attention | None = None
    activation: str = "relu"
    zero_init_last: bool = False
    default_size: int = 224

    def __post_init__(self) -> None:
        stages = len(self.out_channels)
        if stages != len(self.depths) or min(self.depths, default=0) < 1:
            raise ValueError(
                "`depths` must give each stage of `out_channels` at least one "
                f"block. Received: {self.depths} and {self.out_channels}"
            )
        _check("shortcut", self.shortcut, "conv", "avg")
        _check("downsample", self.downsample, "stride", "avg_pool")


_50 = ResNeXtConfig(depths=(3, 4, 6, 3), grouping=Template(32, 4))
_50d = replace(_50, stem=Stem((32, 32, 64), kernel_size=3), shortcut="avg")
_101 = replace(_50, depths=(3, 4, 23, 3))
_inside = partial(Attention, position="bottleneck")
_SE, _ECA = Attention("se"), Attention("eca")
_se101 = replace(_101, attention=_SE)
_se101d = replace(
    _50d, depths=_101.depths, grouping=Template(32, 8), attention=_SE
)
_seaa101d = replace(
    _se101d, downsample="avg_pool", stem=replace(_50d.stem, pool="avg")
)
_50t = replace(_50d, stem=Stem((24, 32, 64), kernel_size=3))
_26t = replace(_50t, depths=(2, 2, 2, 2))
_26ts = ResNeXtConfig(
    depths=(2, 2, 2, 2),
    grouping=GroupWidth(32),
    stem=_50t.stem,
    activation="silu",
    default_size=256,
)
_gc26ts = replace(_26ts, attention=_inside("gc"))
_29 = ResNeXtConfig(
    depths=(3, 3, 3),
    grouping=Template(8, 64),
    out_channels=(256, 512, 1024),
    stem=Stem(kernel_size=3, strides=1, pool=None),
    default_size=32,
)

VARIANTS = MappingProxyType(
    {
        "resnext50_32x4d": _50,
        "resnext50d_32x4d": _50d,
        "resnext101_32x4d": _101,
        "resnext101_32x8d": replace(_101, grouping=Template(32, 8)),
        "resnext101_32x16d": replace(_101, grouping=Template(32, 16)),
        "resnext101_32x32d": replace(_101, grouping=Template(32, 32)),
        "resnext101_32x48d": replace(_101, grouping=Template(32, 48)),
        "resnext101_64x4d": replace(_101, grouping=Template(64, 4)),
        "resnext152_32x4d": replace(_50, depths=(3, 8, 36, 3)),
        "seresnext50_32x4d": replace(_50, attention=_SE),
        "seresnext101_32x4d": _se101,
        "seresnext101_32x8d": replace(_se101, grouping=Template(32, 8)),
        "seresnext101_64x4d": replace(_se101, grouping=Template(64, 4)),
        "seresnext101d_32x8d": _se101d,
        "seresnextaa101d_32x8d": _seaa101d,
        "seresnextaa201d_32x8d": replace(
            _seaa101d,
            depths=(3, 24, 36, 4),
            stem=replace(_seaa101d.stem, widths=(64, 64, 128)),
        ),
        "seresnext26d_32x4d": replace(_26t, stem=_50d.stem, attention=_SE),
        "seresnext26t_32x4d": replace(_26t, attention=_SE),
        "ecaresnext26t_32x4d": replace(_26t, attention=_ECA),
        "ecaresnext50t_32x4d": replace(_50t, attention=_ECA),
        "resnext26ts": _26ts,
        "seresnext26ts": replace(_26ts, attention=_inside("se")),
        "eca_resnext26ts": replace(_26ts, attention=_inside("eca")),
        "gcresnext26ts": _gc26ts,
        "gcresnext50ts": replace(_gc26ts, depths=_50.depths),
        "resnext29_8x64d": _29,
        "resnext29_16x64d": replace(_29, grouping=Template(16, 64)),
    }
)
