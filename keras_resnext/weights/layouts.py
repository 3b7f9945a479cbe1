"""Checkpoint layouts as data: foreign names of our layers and variables.

A layout is a table of names and, for each kind of layer, of variables with
the transform between foreign arrays and ours.
"""

import contextlib
import functools
import re
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field

from keras_resnext.weights import qubvel
from keras_resnext.weights.files import Tensors
from keras_resnext.weights.transforms import AS_IS
from keras_resnext.weights.transforms import DEPTHWISE
from keras_resnext.weights.transforms import KERAS_POINTWISE
from keras_resnext.weights.transforms import OIHW
from keras_resnext.weights.transforms import POINTWISE
from keras_resnext.weights.transforms import TRANSPOSED
from keras_resnext.weights.transforms import Transform
from keras_resnext.weights.transforms import variance_of_epsilon


@dataclass(frozen=True)
class Layout:
    r"""Names and axes of one family of checkpoints.

    Args:
        names: Our layer names, as patterns, and theirs, as format strings
            over the pattern's groups. `{block0}` and `{stage0}` count from
            zero, and `{stage1}` counts stages from two. Alternatives are
            separated by `|`; a checkpoint contains one of them.
        variables: For each of our variables, the foreign name and transform.
            `"conv2.kernel"` takes precedence over `"kernel"` for a layer
            whose name ends in `conv2`.
        separator: Text between a layer's and a variable's name.
        special: Names to use instead for a model with a layer that matches
            the key.
        prepare: Function that converts a file's tensors, in the file's order,
            to those of the names here, and returns other tensors unchanged.
        ignored: Pattern of foreign tensors that are not weights.
    """

    names: Mapping[str, str]
    variables: Mapping[str, tuple[str, Transform]]
    separator: str
    special: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    prepare: Callable[[Tensors], Tensors] = lambda tensors: tensors
    ignored: str = r"(?!)"

    def prepared(self, tensors: Tensors) -> Tensors:
        """Return a file's tensors by the layout's names, if they fit it."""
        with contextlib.suppress(ValueError):  # shapes don't fit together
            return self.prepare(tensors)
        return tensors

    def names_for(self, layers: Collection[str]) -> Mapping[str, str]:
        """Return the table of names for a model with these layers."""
        names = dict(self.names)
        for marker, instead in self.special.items():
            if any(re.fullmatch(marker, layer) for layer in layers):
                names.update(instead)
        return names

    def variable(self, layer: str, variable: str) -> tuple[str, Transform]:
        """Return the foreign name of a variable, and its transform."""
        qualified = f"{layer.rpartition('_')[2]}.{variable}"
        return self.variables.get(qualified) or self.variables[variable]


def foreign_name(names: Mapping[str, str], layer: str) -> str | None:
    """Return a layer's name in a table of names; None if it has none."""
    for pattern, name in names.items():
        if match := re.fullmatch(pattern, layer):
            groups = match.groupdict()
            stage, block = (int(groups.get(g, 1)) for g in ("stage", "block"))
            return name.format(
                **groups, stage0=stage - 1, block0=block - 1, stage1=stage + 1
            )
    return None


_STAGE = r"stage(?P<stage>\d+)"
_BLOCK = _STAGE + r"_block(?P<block>\d+)"
_SHORTCUT = _BLOCK + "_shortcut"
# A convolution and its batch normalization, where others name them alike.
_PAIR = r"_(?P<kind>conv|bn)"
_PAIRS = _PAIR + r"(?P<i>\d)"


def _torch_batch_norm(
    ours: str, theirs: str
) -> dict[str, tuple[str, Transform]]:
    """Return the variables of a batch normalization within a layer."""
    return {
        f"{ours}/gamma": (f"{theirs}.weight", AS_IS),
        f"{ours}/beta": (f"{theirs}.bias", AS_IS),
        f"{ours}/moving_mean": (f"{theirs}.running_mean", AS_IS),
        f"{ours}/moving_variance": (f"{theirs}.running_var", AS_IS),
    }


_TORCH_VARIABLES = {
    "predictions.kernel": ("weight", TRANSPOSED),
    "attention.kernel": ("conv.weight", TRANSPOSED),
    "kernel": ("weight", OIHW),
    "bias": ("bias", AS_IS),
    "gamma": ("weight", AS_IS),
    "beta": ("bias", AS_IS),
    "moving_mean": ("running_mean", AS_IS),
    "moving_variance": ("running_var", AS_IS),
    # Squeeze-and-excitation.
    "reduce_kernel": ("fc1.weight", POINTWISE),
    "reduce_bias": ("fc1.bias", AS_IS),
    "expand_kernel": ("fc2.weight", POINTWISE),
    "expand_bias": ("fc2.bias", AS_IS),
    # Global context.
    "context_kernel": ("conv_attn.weight", POINTWISE),
    "context_bias": ("conv_attn.bias", AS_IS),
    "narrow_kernel": ("mlp_add.fc1.weight", POINTWISE),
    "narrow_bias": ("mlp_add.fc1.bias", AS_IS),
    "narrow_gamma": ("mlp_add.norm.weight", AS_IS),
    "narrow_beta": ("mlp_add.norm.bias", AS_IS),
    "wide_kernel": ("mlp_add.fc2.weight", POINTWISE),
    "wide_bias": ("mlp_add.fc2.bias", AS_IS),
    # Bilinear attention.
    "reduce_conv/kernel": ("conv1.conv.weight", OIHW),
    **_torch_batch_norm("reduce_norm", "conv1.bn"),
    "score_conv/kernel": ("ba.conv1.conv.weight", OIHW),
    **_torch_batch_norm("score_norm", "ba.conv1.bn"),
    "row_conv/kernel": ("ba.conv_p.weight", OIHW),
    "row_conv/bias": ("ba.conv_p.bias", AS_IS),
    "column_conv/kernel": ("ba.conv_q.weight", OIHW),
    "column_conv/bias": ("ba.conv_q.bias", AS_IS),
    "mix_conv/kernel": ("ba.conv2.conv.weight", OIHW),
    **_torch_batch_norm("mix_norm", "ba.conv2.bn"),
    "expand_conv/kernel": ("conv2.conv.weight", OIHW),
    **_torch_batch_norm("expand_norm", "conv2.bn"),
    # Selective kernels.
    "compact_kernel": ("fc_reduce.weight", POINTWISE),
    **_torch_batch_norm("compact_norm", "bn"),
    "select_kernel": ("fc_select.weight", POINTWISE),
}
# "n_averaged" counts the steps of torch.optim.swa_utils.AveragedModel.
_TORCH_IGNORED = r".*\.num_batches_tracked|n_averaged"

_KERAS_VARIABLES = {
    name: (name, AS_IS)
    for name in (
        "kernel",
        "bias",
        "gamma",
        "beta",
        "moving_mean",
        "moving_variance",
    )
}

_torch_layout = functools.partial(
    Layout, variables=_TORCH_VARIABLES, separator=".", ignored=_TORCH_IGNORED
)

# timm and torchvision: resnet.py of both.
_TIMM_RESNET = _torch_layout(
    names={
        "stem_conv1": "conv1",
        "stem_bn1": "bn1",
        _BLOCK + _PAIRS: "layer{stage}.{block0}.{kind}{i}",
        _SHORTCUT + "_conv": "layer{stage}.{block0}.downsample.0",
        _SHORTCUT + "_bn": "layer{stage}.{block0}.downsample.1",
        _BLOCK + "_attention": "layer{stage}.{block0}.se",
        "predictions": "fc",
    },
    special={
        # timm has no such stem; these would be its names.
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
        _SHORTCUT + "_pool": {
            _SHORTCUT + "_conv": "layer{stage}.{block0}.downsample.1",
            _SHORTCUT + "_bn": "layer{stage}.{block0}.downsample.2",
        },
    },
)

# timm's sknet.py, whose convolutions are in separate modules.
_TIMM_SK = _torch_layout(
    names={
        **_TIMM_RESNET.names,
        _BLOCK + _PAIRS: "layer{stage}.{block0}.conv{i}.{kind}",
        _BLOCK + "_path1" + _PAIR: "layer{stage}.{block0}.conv2.paths.0.{kind}",
        _BLOCK + "_path2" + _PAIR: "layer{stage}.{block0}.conv2.paths.1.{kind}",
        _BLOCK + "_select": "layer{stage}.{block0}.conv2.attn",
    },
)

# timm's senet.py, older than its resnet.py.
_TIMM_SENET = _torch_layout(
    names={
        **_TIMM_RESNET.names,
        "stem_conv1": "layer0.conv1",
        "stem_bn1": "layer0.bn1",
        _BLOCK + "_attention": "layer{stage}.{block0}.se_module",
        "predictions": "last_linear",
    },
)

# timm's cspnet.py.
_TIMM_CSP = _torch_layout(
    names={
        "stem" + _PAIR + "1": "stem.conv1.{kind}",
        _STAGE + "_down" + _PAIR: "stages.{stage0}.conv_down.{kind}",
        _STAGE + "_expand" + _PAIR: "stages.{stage0}.conv_exp.{kind}",
        _BLOCK + _PAIRS: "stages.{stage0}.blocks.{block0}.conv{i}.{kind}",
        _STAGE + "_inner" + _PAIR: "stages.{stage0}.conv_transition_b.{kind}",
        _STAGE + "_outer" + _PAIR: "stages.{stage0}.conv_transition.{kind}",
        "predictions": "head.fc",
    },
)

# timm's byobnet.py.
_TIMM_BYOB = _torch_layout(
    names={
        "stem" + _PAIRS: "stem.conv{i}.{kind}",
        _BLOCK + _PAIR + "2": "stages.{stage0}.{block0}.conv2_kxk.{kind}",
        _BLOCK + _PAIRS: "stages.{stage0}.{block0}.conv{i}_1x1.{kind}",
        _SHORTCUT + _PAIR: "stages.{stage0}.{block0}.shortcut.{kind}",
        _BLOCK + "_attention": "stages.{stage0}.{block0}.attn",
        "predictions": "head.fc",
    },
)

# mmpretrain, once mmclassification: backbones/resnext.py.
_MMPRETRAIN = _torch_layout(
    names={
        "stem" + _PAIR + "1": "backbone.{kind}1",
        _BLOCK + _PAIRS: "backbone.layer{stage}.{block0}.{kind}{i}",
        _SHORTCUT + "_conv": "backbone.layer{stage}.{block0}.downsample.0",
        _SHORTCUT + "_bn": "backbone.layer{stage}.{block0}.downsample.1",
        "predictions": "head.fc",
    },
)

# The .h5 files of keras-applications' resnext.py, removed in Keras 2.3.
_KERAS_APPLICATIONS = Layout(
    names={
        "stem" + _PAIR + "1": "conv1_{kind}",
        _BLOCK + _PAIRS: "conv{stage1}_block{block}_{i}_{kind}",
        _SHORTCUT + _PAIR: "conv{stage1}_block{block}_0_{kind}",
        "predictions": "predictions|probs",
    },
    variables={
        **_KERAS_VARIABLES,
        "conv2.kernel": ("depthwise_kernel", DEPTHWISE),
        "moving_variance": ("moving_variance", variance_of_epsilon(1.001e-5)),
    },
    separator="/",
    # The frozen 0/1 kernels that summed the outputs of a depthwise kernel.
    ignored=r".*_2_gconv/.*",
)

# qubvel's classification_models, with its names of ResNeXt's layers.
_QUBVEL = Layout(
    names={
        "stem_conv1": "conv0",
        "stem_bn1": "bn0",
        _BLOCK + _PAIRS: "stage{stage}_unit{block}_{kind}{i}",
        _SHORTCUT + "_conv": "stage{stage}_unit{block}_sc",
        _SHORTCUT + "_bn": "stage{stage}_unit{block}_sc_bn",
        _BLOCK + "_attention": "stage{stage}_unit{block}_se",
        "predictions": "fc1",
    },
    variables={
        **_KERAS_VARIABLES,
        "reduce_kernel": ("1/kernel", KERAS_POINTWISE),
        "reduce_bias": ("1/bias", AS_IS),
        "expand_kernel": ("2/kernel", KERAS_POINTWISE),
        "expand_bias": ("2/bias", AS_IS),
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
