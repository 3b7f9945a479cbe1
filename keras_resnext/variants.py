"""Table of variants: a row for each named model.

Names are timm's. "32x4d" is cardinality 32 and bottleneck width 4; the letters
before and after the depth are:

    se, eca, gc   channel attention; bat: attention to blocks of pixels
    sk            selective kernels
    csp           cross-stage partial
    aa            average pooling instead of strides (anti-aliasing)
    d             deep stem, average-pooled shortcuts
                  (He et al., 2018, https://arxiv.org/abs/1812.01187)
    t, ts         the same with a tiered stem; ts: SiLU, groups of 32
    s             slim: fewer channels; ours, for small images on a CPU
"""

from dataclasses import replace
from functools import partial
from types import MappingProxyType

from keras_resnext.config import Attention
from keras_resnext.config import FixedCardinality
from keras_resnext.config import FixedGroupWidth
from keras_resnext.config import ResNeXtConfig
from keras_resnext.config import Stem
from keras_resnext.suggestions import did_you_mean

_50 = ResNeXtConfig(depths=(3, 4, 6, 3), grouping=FixedCardinality(32, 4))
_50d = replace(_50, stem=Stem((32, 32, 64), kernel_size=3), shortcut="avg")
_101 = replace(_50, depths=(3, 4, 23, 3))
_inside = partial(Attention, position="bottleneck")
_SE, _ECA = Attention("se"), Attention("eca")
_se101 = replace(_101, attention=_SE)
_se101d = replace(
    _50d, depths=_101.depths, grouping=FixedCardinality(32, 8), attention=_SE
)
_seaa101d = replace(
    _se101d, antialias=True, stem=replace(_50d.stem, pool="avg")
)
_50t = replace(_50d, stem=Stem((24, 32, 64), kernel_size=3))
_26t = replace(_50t, depths=(2, 2, 2, 2))
_26ts = ResNeXtConfig(
    depths=(2, 2, 2, 2),
    grouping=FixedGroupWidth(32),
    stem=_50t.stem,
    activation="silu",
    default_size=256,
)
_gc26ts = replace(_26ts, attention=_inside("gc"))
_legacy_se50 = replace(
    _50, attention=_SE, stem=Stem(pool="max_ceil"), dropout=0.2
)
_29 = ResNeXtConfig(
    depths=(3, 3, 3),
    grouping=FixedCardinality(8, 64),
    out_channels=(256, 512, 1024),
    stem=Stem(kernel_size=3, strides=1, pool=None),
    default_size=32,
)

VARIANTS = MappingProxyType(
    {
        "resnext50_32x4d": _50,
        "resnext50d_32x4d": _50d,
        "resnext101_32x4d": _101,
        "resnext101_32x8d": replace(_101, grouping=FixedCardinality(32, 8)),
        "resnext101_32x16d": replace(_101, grouping=FixedCardinality(32, 16)),
        "resnext101_32x32d": replace(_101, grouping=FixedCardinality(32, 32)),
        "resnext101_32x48d": replace(_101, grouping=FixedCardinality(32, 48)),
        "resnext101_64x4d": replace(_101, grouping=FixedCardinality(64, 4)),
        "resnext152_32x4d": replace(_50, depths=(3, 8, 36, 3)),
        "seresnext50_32x4d": replace(_50, attention=_SE),
        "seresnext101_32x4d": _se101,
        "seresnext101_32x8d": replace(_se101, grouping=FixedCardinality(32, 8)),
        "seresnext101_64x4d": replace(_se101, grouping=FixedCardinality(64, 4)),
        "seresnext101d_32x8d": _se101d,
        "seresnextaa101d_32x8d": _seaa101d,
        "seresnextaa201d_32x8d": replace(
            _seaa101d,
            depths=(3, 24, 36, 4),
            stem=replace(_seaa101d.stem, widths=(64, 64, 128)),
        ),
        "seresnext26d_32x4d": replace(_26t, stem=_50d.stem, attention=_SE),
        "seresnext26t_32x4d": replace(_26t, attention=_SE),
        "legacy_seresnext26_32x4d": replace(_legacy_se50, depths=_26t.depths),
        "legacy_seresnext50_32x4d": _legacy_se50,
        "legacy_seresnext101_32x4d": replace(_legacy_se50, depths=_101.depths),
        "ecaresnext26t_32x4d": replace(_26t, attention=_ECA),
        "ecaresnext50t_32x4d": replace(_50t, attention=_ECA),
        "skresnext50_32x4d": replace(_50, conv="selective_kernel"),
        "cspresnext50": replace(
            _50,
            depths=(3, 3, 5, 2),
            stage="cross_stage",
            activation="leaky_relu",
            default_size=256,
        ),
        "resnext26ts": _26ts,
        "seresnext26ts": replace(_26ts, attention=_inside("se")),
        "eca_resnext26ts": replace(_26ts, attention=_inside("eca")),
        "gcresnext26ts": _gc26ts,
        "bat_resnext26ts": replace(_26ts, attention=_inside("bat")),
        "gcresnext50ts": replace(_gc26ts, depths=_50.depths),
        "resnext29_8x64d": _29,
        "resnext29_16x64d": replace(_29, grouping=FixedCardinality(16, 64)),
        "resnext23s_4x32d": replace(
            _29,
            depths=(1, 3, 3),
            grouping=FixedCardinality(4, 32),
            out_channels=(64, 192, 384),
            stem=replace(_29.stem, widths=(32,)),
        ),
    }
)


def find_variant(name: str) -> ResNeXtConfig:
    """Look up a variant.

    Raises:
        ValueError: If there is no such variant; the message lists them.
    """
    if name not in VARIANTS:
        raise ValueError(
            f"There is no variant {name!r}.{did_you_mean(name, VARIANTS)} "
            f"Variants: {', '.join(sorted(VARIANTS))}"
        )
    return VARIANTS[name]
