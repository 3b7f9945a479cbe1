"""Checkpoint layouts as data: what others call our layers and variables.

A layout is a table of names and, for each kind of layer, of variables with
the transform that turns a foreign array into ours and back.
"""

import contextlib
import re
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field

import numpy as np

from keras_resnext.weights import qubvel

Shape = tuple[int, ...]
Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Transform:
    """How a foreign array becomes a variable of the given shape, and back."""

    to_keras: Callable[[np.ndarray, Shape], np.ndarray]
    from_keras: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Layout:
    r"""What one family of checkpoints calls things.

    Args:
        names: Our layer names, as patterns, and theirs, as format strings
            over the pattern's groups. `{block0}` and `{stage0}` count from
            zero, and `{stage1}` counts stages from two. Alternatives are
            separated by `|`; a checkpoint decides which it holds.
        variables: For each of our variables, the foreign name and transform.
            `"conv2.kernel"` stands before `"kernel"` for a layer whose name
            ends in `conv2`.
        separator: What stands between a layer's and a variable's name.
        special: Names that hold instead where a model has a layer that
            matches the key.
        prepare: What makes of a file's tensors, in its order, those that the
            names here stand for; it returns others as they are.
        ignored: Pattern of foreign tensors that carry no weights.
    """

    names: Mapping[str, str]
    variables: Mapping[str, tuple[str, Transform]]
    separator: str
    special: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    prepare: Callable[[Tensors], Tensors] = lambda tensors: tensors
    ignored: str = r"(?!)"

    def prepared(self, tensors: Tensors) -> Tensors:
        """A file's tensors as the names stand for them, if they are such."""
        with contextlib.suppress(ValueError):  # shapes don't fit together
            return self.prepare(tensors)
        return tensors

    def names_for(self, layers: Collection[str]) -> Mapping[str, str]:
        """The table of names that holds for a model of these layers."""
        names = dict(self.names)
        for marker, instead in self.special.items():
            if any(re.fullmatch(marker, layer) for layer in layers):
                names.update(instead)
        return names

    def variable(self, layer: str, variable: str) -> tuple[str, Transform]:
        """The foreign name of a variable, and its transform."""
        qualified = f"{layer.rpartition('_')[2]}.{variable}"
        return self.variables.get(qualified) or self.variables[variable]


def foreign_name(names: Mapping[str, str], layer: str) -> str | None:
    """What a table of names calls our layer; None if it has no word for it."""
    for pattern, name in names.items():
        if match := re.fullmatch(pattern, layer):
            groups = {
                key: int(value) for key, value in match.groupdict().items()
            }
            return name.format(
                **groups,
                stage0=groups.get("stage", 1) - 1,
                block0=groups.get("block", 1) - 1,
                stage1=groups.get("stage", 0) + 1,
            )
    return None


def _grouped_from_depthwise(depthwise: np.ndarray, shape: Shape) -> np.ndarray:
    """Unfolds a depthwise kernel whose outputs a frozen 1x1 summed by groups.

    keras-applications had no grouped convolution: every input channel was
    convolved once for each output of its group, `(3, 3, filters, c)`.
    """
    rows, columns, width, filters = shape
    if depthwise.shape != (rows, columns, filters, width):
        raise ValueError("a depthwise kernel of other groups")
    groups = filters // width
    return (
        depthwise.reshape(rows, columns, groups, width, width)
        .transpose(0, 1, 3, 2, 4)
        .reshape(shape)
    )


def _depthwise_from_grouped(kernel: np.ndarray) -> np.ndarray:
    rows, columns, width, filters = kernel.shape
    groups = filters // width
    return (
        kernel.reshape(rows, columns, width, groups, width)
        .transpose(0, 1, 3, 2, 4)
        .reshape(rows, columns, filters, width)
    )


def _variance_of_epsilon(epsilon: float) -> Transform:
    """Moves what an epsilon exceeds ours by into the moving variance.

    Both ways round once, from float64, so the way back is exact: between two
    powers of two every float moves by as many steps. Only where the shift
    crosses a power of two, above which floats are half as dense, do some pairs
    of neighbours become one, in any formulation; one of the two then comes
    back as the other.
    """
    excess = float(np.float32(epsilon - 1e-5))  # so that zero comes back

    def shift(variance: np.ndarray, by: float) -> np.ndarray:
        return (variance.astype("float64") + by).astype(variance.dtype)

    return Transform(lambda v, _: shift(v, excess), lambda v: shift(v, -excess))


_AS_IS = Transform(lambda array, _: array, lambda array: array)
_OIHW = Transform(
    lambda array, _: array.transpose(2, 3, 1, 0),
    lambda array: array.transpose(3, 2, 0, 1),
)
# Matrices, and all else that PyTorch has the other way round.
_TRANSPOSED = Transform(lambda array, _: array.T, lambda array: array.T)
# A matrix here, a 1x1 convolution there.
_POINTWISE = Transform(
    lambda array, _: array.squeeze((2, 3)).T,
    lambda array: array.T[:, :, None, None],
)
_KERAS_POINTWISE = Transform(
    lambda array, _: array.squeeze((0, 1)), lambda array: array[None, None]
)
_DEPTHWISE = Transform(_grouped_from_depthwise, _depthwise_from_grouped)

_STAGE = r"stage(?P<stage>\d+)"
_BLOCK = _STAGE + r"_block(?P<block>\d+)"


def _torch_batch_norm(
    ours: str, theirs: str
) -> dict[str, tuple[str, Transform]]:
    """The variables of a batch normalization within a layer."""
    return {
        f"{ours}/gamma": (f"{theirs}.weight", _AS_IS),
        f"{ours}/beta": (f"{theirs}.bias", _AS_IS),
        f"{ours}/moving_mean": (f"{theirs}.running_mean", _AS_IS),
        f"{ours}/moving_variance": (f"{theirs}.running_var", _AS_IS),
    }


_TORCH_VARIABLES = {
    "predictions.kernel": ("weight", _TRANSPOSED),
    "attention.kernel": ("conv.weight", _TRANSPOSED),
    "kernel": ("weight", _OIHW),
    "bias": ("bias", _AS_IS),
    "gamma": ("weight", _AS_IS),
    "beta": ("bias", _AS_IS),
    "moving_mean": ("running_mean", _AS_IS),
    "moving_variance": ("running_var", _AS_IS),
    # Squeeze-and-excitation.
    "reduce_kernel": ("fc1.weight", _POINTWISE),
    "reduce_bias": ("fc1.bias", _AS_IS),
    "expand_kernel": ("fc2.weight", _POINTWISE),
    "expand_bias": ("fc2.bias", _AS_IS),
    # Global context.
    "context_kernel": ("conv_attn.weight", _POINTWISE),
    "context_bias": ("conv_attn.bias", _AS_IS),
    "narrow_kernel": ("mlp_add.fc1.weight", _POINTWISE),
    "narrow_bias": ("mlp_add.fc1.bias", _AS_IS),
    "narrow_gamma": ("mlp_add.norm.weight", _AS_IS),
    "narrow_beta": ("mlp_add.norm.bias", _AS_IS),
    "wide_kernel": ("mlp_add.fc2.weight", _POINTWISE),
    "wide_bias": ("mlp_add.fc2.bias", _AS_IS),
    # Bilinear attention.
    "reduce_conv/kernel": ("conv1.conv.weight", _OIHW),
    **_torch_batch_norm("reduce_norm", "conv1.bn"),
    "score_conv/kernel": ("ba.conv1.conv.weight", _OIHW),
    **_torch_batch_norm("score_norm", "ba.conv1.bn"),
    "row_conv/kernel": ("ba.conv_p.weight", _OIHW),
    "row_conv/bias": ("ba.conv_p.bias", _AS_IS),
    "column_conv/kernel": ("ba.conv_q.weight", _OIHW),
    "column_conv/bias": ("ba.conv_q.bias", _AS_IS),
    "mix_conv/kernel": ("ba.conv2.conv.weight", _OIHW),
    **_torch_batch_norm("mix_norm", "ba.conv2.bn"),
    "expand_conv/kernel": ("conv2.conv.weight", _OIHW),
    **_torch_batch_norm("expand_norm", "conv2.bn"),
    # Selective kernels.
    "compact_kernel": ("fc_reduce.weight", _POINTWISE),
    **_torch_batch_norm("compact_norm", "bn"),
    "select_kernel": ("fc_select.weight", _POINTWISE),
}
_TORCH_IGNORED = r".*\.num_batches_tracked"

_KERAS_VARIABLES = {
    name: (name, _AS_IS)
    for name in (
        "kernel",
        "bias",
        "gamma",
        "beta",
        "moving_mean",
        "moving_variance",
    )
}

# timm and torchvision: resnet.py of both.
_TIMM_RESNET = Layout(
    names={
        "stem_conv1": "conv1",
        "stem_bn1": "bn1",
        _BLOCK + r"_conv(?P<i>\d)": "layer{stage}.{block0}.conv{i}",
        _BLOCK + r"_bn(?P<i>\d)": "layer{stage}.{block0}.bn{i}",
        _BLOCK + "_shortcut_conv": "layer{stage}.{block0}.downsample.0",
        _BLOCK + "_shortcut_bn": "layer{stage}.{block0}.downsample.1",
        _BLOCK + "_attention": "layer{stage}.{block0}.se",
        "predictions": "fc",
    },
    variables=_TORCH_VARIABLES,
    separator=".",
    special={
        # timm has no such stem: it would be called so.
        "stem_conv2": {
            "stem_conv1": "conv1.0",
            "stem_bn1": "conv1.1",
            "stem_conv2": "conv1.3",
            "stem_bn2": "bn1",
        },
        "stem_conv3": {
            "stem_conv1": "conv1.0",
            "stem_bn1": "conv1.1",
            "stem_conv2": "conv1.3",
            "stem_bn2": "conv1.4",
            "stem_conv3": "conv1.6",
            "stem_bn3": "bn1",
        },
        # The pooling of an average shortcut counts as downsample.0.
        _BLOCK + "_shortcut_pool": {
            _BLOCK + "_shortcut_conv": "layer{stage}.{block0}.downsample.1",
            _BLOCK + "_shortcut_bn": "layer{stage}.{block0}.downsample.2",
        },
    },
    ignored=_TORCH_IGNORED,
)

# timm's sknet.py, whose convolutions stand in modules of their own.
_TIMM_SK = Layout(
    names={
        **_TIMM_RESNET.names,
        _BLOCK + r"_conv(?P<i>\d)": "layer{stage}.{block0}.conv{i}.conv",
        _BLOCK + r"_bn(?P<i>\d)": "layer{stage}.{block0}.conv{i}.bn",
        _BLOCK + "_path1_conv": "layer{stage}.{block0}.conv2.paths.0.conv",
        _BLOCK + "_path1_bn": "layer{stage}.{block0}.conv2.paths.0.bn",
        _BLOCK + "_path2_conv": "layer{stage}.{block0}.conv2.paths.1.conv",
        _BLOCK + "_path2_bn": "layer{stage}.{block0}.conv2.paths.1.bn",
        _BLOCK + "_select": "layer{stage}.{block0}.conv2.attn",
    },
    variables=_TORCH_VARIABLES,
    separator=".",
    ignored=_TORCH_IGNORED,
)

# timm's senet.py, older than its resnet.py.
_TIMM_SENET = Layout(
    names={
        **_TIMM_RESNET.names,
        "stem_conv1": "layer0.conv1",
        "stem_bn1": "layer0.bn1",
        _BLOCK + "_attention": "layer{stage}.{block0}.se_module",
        "predictions": "last_linear",
    },
    variables=_TORCH_VARIABLES,
    separator=".",
    ignored=_TORCH_IGNORED,
)

# timm's cspnet.py.
_TIMM_CSP = Layout(
    names={
        "stem_conv1": "stem.conv1.conv",
        "stem_bn1": "stem.conv1.bn",
        _STAGE + "_down_conv": "stages.{stage0}.conv_down.conv",
        _STAGE + "_down_bn": "stages.{stage0}.conv_down.bn",
        _STAGE + "_expand_conv": "stages.{stage0}.conv_exp.conv",
        _STAGE + "_expand_bn": "stages.{stage0}.conv_exp.bn",
        _BLOCK
        + r"_conv(?P<i>\d)": "stages.{stage0}.blocks.{block0}.conv{i}.conv",
        _BLOCK + r"_bn(?P<i>\d)": "stages.{stage0}.blocks.{block0}.conv{i}.bn",
        _STAGE + "_inner_conv": "stages.{stage0}.conv_transition_b.conv",
        _STAGE + "_inner_bn": "stages.{stage0}.conv_transition_b.bn",
        _STAGE + "_outer_conv": "stages.{stage0}.conv_transition.conv",
        _STAGE + "_outer_bn": "stages.{stage0}.conv_transition.bn",
        "predictions": "head.fc",
    },
    variables=_TORCH_VARIABLES,
    separator=".",
    ignored=_TORCH_IGNORED,
)

# timm's byobnet.py.
_TIMM_BYOB = Layout(
    names={
        "stem_conv1": "stem.conv1.conv",
        "stem_bn1": "stem.conv1.bn",
        r"stem_conv(?P<i>\d)": "stem.conv{i}.conv",
        r"stem_bn(?P<i>\d)": "stem.conv{i}.bn",
        _BLOCK + "_conv2": "stages.{stage0}.{block0}.conv2_kxk.conv",
        _BLOCK + "_bn2": "stages.{stage0}.{block0}.conv2_kxk.bn",
        _BLOCK + r"_conv(?P<i>\d)": "stages.{stage0}.{block0}.conv{i}_1x1.conv",
        _BLOCK + r"_bn(?P<i>\d)": "stages.{stage0}.{block0}.conv{i}_1x1.bn",
        _BLOCK + "_shortcut_conv": "stages.{stage0}.{block0}.shortcut.conv",
        _BLOCK + "_shortcut_bn": "stages.{stage0}.{block0}.shortcut.bn",
        _BLOCK + "_attention": "stages.{stage0}.{block0}.attn",
        "predictions": "head.fc",
    },
    variables=_TORCH_VARIABLES,
    separator=".",
    ignored=_TORCH_IGNORED,
)

# mmpretrain, once mmclassification: backbones/resnext.py.
_MMPRETRAIN = Layout(
    names={
        "stem_conv1": "backbone.conv1",
        "stem_bn1": "backbone.bn1",
        _BLOCK + r"_conv(?P<i>\d)": "backbone.layer{stage}.{block0}.conv{i}",
        _BLOCK + r"_bn(?P<i>\d)": "backbone.layer{stage}.{block0}.bn{i}",
        _BLOCK
        + "_shortcut_conv": "backbone.layer{stage}.{block0}.downsample.0",
        _BLOCK + "_shortcut_bn": "backbone.layer{stage}.{block0}.downsample.1",
        "predictions": "head.fc",
    },
    variables=_TORCH_VARIABLES,
    separator=".",
    ignored=_TORCH_IGNORED,
)

# The .h5 files of keras-applications' resnext.py, gone since Keras 2.3.
_KERAS_APPLICATIONS = Layout(
    names={
        "stem_conv1": "conv1_conv",
        "stem_bn1": "conv1_bn",
        _BLOCK + r"_conv(?P<i>\d)": "conv{stage1}_block{block}_{i}_conv",
        _BLOCK + r"_bn(?P<i>\d)": "conv{stage1}_block{block}_{i}_bn",
        _BLOCK + "_shortcut_conv": "conv{stage1}_block{block}_0_conv",
        _BLOCK + "_shortcut_bn": "conv{stage1}_block{block}_0_bn",
        "predictions": "predictions|probs",
    },
    variables={
        **_KERAS_VARIABLES,
        "conv2.kernel": ("depthwise_kernel", _DEPTHWISE),
        "moving_variance": ("moving_variance", _variance_of_epsilon(1.001e-5)),
    },
    separator="/",
    # The frozen 0/1 kernels that summed the outputs of a depthwise kernel.
    ignored=r".*_2_gconv/.*",
)

# qubvel's classification_models, by the names that ResNeXt's layers have there.
_QUBVEL = Layout(
    names={
        "stem_conv1": "conv0",
        "stem_bn1": "bn0",
        _BLOCK + r"_conv(?P<i>\d)": "stage{stage}_unit{block}_conv{i}",
        _BLOCK + r"_bn(?P<i>\d)": "stage{stage}_unit{block}_bn{i}",
        _BLOCK + "_shortcut_conv": "stage{stage}_unit{block}_sc",
        _BLOCK + "_shortcut_bn": "stage{stage}_unit{block}_sc_bn",
        _BLOCK + "_attention": "stage{stage}_unit{block}_se",
        "predictions": "fc1",
    },
    variables={
        **_KERAS_VARIABLES,
        "reduce_kernel": ("1/kernel", _KERAS_POINTWISE),
        "reduce_bias": ("1/bias", _AS_IS),
        "expand_kernel": ("2/kernel", _KERAS_POINTWISE),
        "expand_bias": ("2/bias", _AS_IS),
    },
    separator="/",
    prepare=qubvel.prepare,
)

LAYOUTS: Mapping[str, Layout] = {
    "timm_resnet": _TIMM_RESNET,
    "timm_sk": _TIMM_SK,
    "timm_senet": _TIMM_SENET,
    "timm_byob": _TIMM_BYOB,
    "timm_csp": _TIMM_CSP,
    "mmpretrain": _MMPRETRAIN,
    "keras_applications": _KERAS_APPLICATIONS,
    "qubvel": _QUBVEL,
}
