"""Configuration of a ResNeXt, as frozen dataclasses.

Terms are the paper's (Xie et al., 2017, https://arxiv.org/abs/1611.05431):
a "32x4d" model has cardinality 32 and bottleneck width 4.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import replace

from keras_resnext.checks import check_fields
from keras_resnext.checks import check_share


def _check(name: str, value: object, *choices: object) -> None:
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {choices}. Got {value!r}")


def _check_positive(name: str, *values: int) -> None:
    if not all(v > 0 for v in values):
        raise ValueError(
            f"`{name}` must be positive whole numbers. Received: {values}"
        )


@dataclass(frozen=True)
class FixedCardinality:
    """The paper's C x d: `cardinality` paths of `bottleneck_width` channels.

    The width is the first stage's; it doubles with the stage's output.

    Args:
        cardinality: Number of groups C, at every stage.
        bottleneck_width: Channels d of one group in the first stage.

    Raises:
        ValueError: If a number is not a positive whole number.

    Example:
    >>> grouping = keras_resnext.FixedCardinality(32, 4)
    >>> grouping.width_and_groups(256), grouping.width_and_groups(512)
    ((128, 32), (256, 32))
    """

    cardinality: int
    bottleneck_width: int

    def __post_init__(self) -> None:
        check_fields(self)
        _check_positive(
            "FixedCardinality", self.cardinality, self.bottleneck_width
        )

    def width_and_groups(self, out_channels: int) -> tuple[int, int]:
        """Return channels and groups of the 3x3 for the block's outputs."""
        planes = out_channels // 4
        group_width = planes * self.bottleneck_width // 64
        if group_width < 1:
            raise ValueError(
                f"A bottleneck width of {self.bottleneck_width} leaves no "
                f"channel for a group of a block of {out_channels} channels. "
                f"Use a width of at least {-(-64 // max(planes, 1))}."
            )
        return group_width * self.cardinality, self.cardinality


@dataclass(frozen=True)
class FixedGroupWidth:
    """Groups of one width at every stage, as many as fit the stage's width.

    Args:
        channels: Channels of one group.

    Example:
    >>> grouping = keras_resnext.FixedGroupWidth(16)
    >>> grouping.width_and_groups(256), grouping.width_and_groups(512)
    ((64, 4), (128, 8))
    """

    channels: int

    def __post_init__(self) -> None:
        check_fields(self)
        _check_positive("channels", self.channels)

    def width_and_groups(self, out_channels: int) -> tuple[int, int]:
        """Return channels and groups of the 3x3 for the block's outputs."""
        width = out_channels // 4
        if width % self.channels:
            raise ValueError(
                f"Groups of {self.channels} channels don't divide {width}."
            )
        return width, width // self.channels


@dataclass(frozen=True)
class Stem:
    """Layers before the first stage.

    Args:
        widths: Filters of each convolution; more than one is a "deep" stem.
        kernel_size: Kernel size of each of them.
        strides: Strides of the first.
        pool: `"max"` for a 3x3 max pooling of stride 2, padded alike on both
            sides; `"max_ceil"`, padded below and on the right only, as in
            Caffe; `"avg"` for a 2x2 average pooling; or `None`.

    Raises:
        ValueError: If a number is not positive, or the pooling is unknown.

    Example:
    >>> keras_resnext.Stem(widths=(32, 32, 64), kernel_size=3).total_strides
    4
    """

    widths: tuple[int, ...] = (64,)
    kernel_size: int = 7
    strides: int = 2
    pool: str | None = "max"

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "widths", tuple(self.widths))
        _check_positive("widths", *self.widths)
        _check_positive("strides", self.strides)
        _check("pool", self.pool, None, "max", "max_ceil", "avg")

    @property
    def total_strides(self) -> int:
        """Ratio of the image's height to that of the stem's output."""
        return self.strides * (1 if self.pool is None else 2)


@dataclass(frozen=True)
class Attention:
    """Layer that weighs the channels of a block.

    Args:
        kind: `"se"` (squeeze-and-excitation), `"eca"` (efficient channel
            attention), `"gc"` (global context) or `"bat"` (bilinear, which
            needs images of a multiple of 256 pixels).
        position: After the `"output"` convolution or in the `"bottleneck"`.

    Raises:
        ValueError: If the kind or the position is unknown.

    Example:
    >>> keras_resnext.get_model(
    ...     "resnext50_32x4d",
    ...     weights=None,
    ...     attention=keras_resnext.Attention("eca"),
    ... ).count_params()
    25097214
    """

    kind: str
    position: str = "output"

    def __post_init__(self) -> None:
        check_fields(self)
        _check("kind", self.kind, "se", "eca", "gc", "bat")
        _check("position", self.position, "output", "bottleneck")


@dataclass(frozen=True)
class Block:
    """Residual block at its place in a model.

    Args:
        stage: Number of its stage, from 1.
        number: Number within its stage, from 1.
        filters: Number of output channels.
        width: Channels of the 3x3.
        groups: Groups of the 3x3.
        strides: Strides of the 3x3.
        dilation: Dilation of the 3x3.
        stochastic_depth: Drop rate of its branch in training.
    """

    stage: int
    number: int
    filters: int
    width: int
    groups: int
    strides: int
    dilation: int
    stochastic_depth: float

    @property
    def name(self) -> str:
        """Prefix of its layers' names."""
        return f"stage{self.stage}_block{self.number}"


@dataclass(frozen=True)
class ResNeXtConfig:
    """Architecture of a ResNeXt, and its regularization in training.

    Args:
        depths: Number of blocks of each stage.
        grouping: Width and groups of the 3x3 of a block.
        out_channels: Number of output channels of each stage.
        stem: Layers before the first stage.
        shortcut: `"conv"`, a strided 1x1 convolution where shapes change
            (the paper's type B), or `"avg"`, a 2x2 average pooling and then
            a 1x1 convolution.
        antialias: Whether a 2x2 average pooling after the 3x3 halves the maps,
            instead of a strided 3x3 (timm's `aa_layer`).
        attention: Channel attention of each block, or `None`.
        conv: Convolution between the 1x1 convolutions of a block:
            `"grouped_conv"`, or `"selective_kernel"`, two grouped convolutions
            of which one is dilated, and attention that weighs their channels.
        stage: `"residual"`, or `"cross_stage"`, whose blocks work on half of
            the channels while the other half bypasses them.
        activation: Name of the activation; `"leaky_relu"` has PyTorch's
            slope of 0.01.
        dropout: Dropout rate of the features before the classifier.
        stochastic_depth: Drop rate of the last block in training; increases
            linearly with depth, from 0.
        output_stride: Ratio of the image's size to the last feature map's;
            below a model's own (32, for ImageNet's), later stages dilate
            instead of striding. The same weights fit.
        zero_init_last: Whether the scale of each block's last normalization
            starts at zero, as in timm but not in the paper.
        default_size: Default height and width of an image, in pixels.

    Raises:
        ValueError: If a field is out of range, or not a valid choice.

    Example:
    >>> config = keras_resnext.ResNeXtConfig(
    ...     depths=(1, 1),
    ...     out_channels=(64, 128),
    ...     grouping=keras_resnext.FixedCardinality(8, 16),
    ... )
    >>> keras_resnext.ResNeXt(config, classes=10).output_shape
    (None, 10)
    """

    depths: tuple[int, ...]
    grouping: FixedCardinality | FixedGroupWidth
    out_channels: tuple[int, ...] = (256, 512, 1024, 2048)
    stem: Stem = Stem()
    shortcut: str = "conv"
    antialias: bool = False
    attention: Attention | None = None
    conv: str = "grouped_conv"
    stage: str = "residual"
    activation: str = "relu"
    dropout: float = 0.0
    stochastic_depth: float = 0.0
    output_stride: int = 32
    zero_init_last: bool = False
    default_size: int = 224

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "depths", tuple(self.depths))
        object.__setattr__(self, "out_channels", tuple(self.out_channels))
        stages = len(self.out_channels)
        if stages != len(self.depths) or min(self.depths, default=0) < 1:
            raise ValueError(
                "`depths` must give each stage of `out_channels` at least one "
                f"block. Received: {self.depths} and {self.out_channels}"
            )
        _check("shortcut", self.shortcut, "conv", "avg")
        _check("conv", self.conv, "grouped_conv", "selective_kernel")
        _check("stage", self.stage, "residual", "cross_stage")
        _check("output_stride", self.output_stride, 4, 8, 16, 32)
        if self.stem.pool == "max_ceil":  # which pads zeros
            _check("activation", self.activation, "relu")
        check_share("dropout", self.dropout)
        check_share("stochastic_depth", self.stochastic_depth)

    def strides_and_dilation(self, index: int) -> tuple[int, int]:
        """Return the strides of stage `index`, from 1, and its dilation."""
        strides, dilation, total = 1, 1, self.stem.total_strides
        for _ in range(1, index):
            strides = 2 if total < self.output_stride else 1
            dilation *= 2 // strides
            total *= strides
        return strides, dilation

    def blocks(self, index: int) -> Iterator[Block]:
        """Yield the blocks of stage `index`, from 1."""
        out_channels = self.out_channels[index - 1]
        width, groups = self.grouping.width_and_groups(out_channels)
        strides, dilation = self.strides_and_dilation(index)
        crossing = self.stage == "cross_stage"
        before, last = sum(self.depths[: index - 1]), sum(self.depths) - 1
        for number in range(self.depths[index - 1]):
            first = number == 0 and not crossing
            yield Block(
                stage=index,
                number=number + 1,
                filters=out_channels // 2 if crossing else out_channels,
                width=width,
                groups=groups,
                strides=strides if first else 1,
                # The first block's input is dilated less.
                dilation=max(dilation // 2, 1) if first else dilation,
                stochastic_depth=self.stochastic_depth
                * ((before + number) / max(last, 1)),
            )

    def architecture(self) -> "ResNeXtConfig":
        """Return the configuration with only what determines weight shapes."""
        return replace(
            self,
            dropout=0.0,
            stochastic_depth=0.0,
            output_stride=32,
            zero_init_last=False,
            default_size=224,
        )
