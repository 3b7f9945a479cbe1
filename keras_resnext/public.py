"""The public face: every name that `keras_resnext` offers."""

from keras_resnext import callables
from keras_resnext import complexity as complexity
from keras_resnext import explain as explain
from keras_resnext import finetuning as finetuning
from keras_resnext import layers as layers
from keras_resnext import paper as paper
from keras_resnext import training as training
from keras_resnext.callables import *  # noqa: F403
from keras_resnext.config import Attention as Attention
from keras_resnext.config import GroupWidth as GroupWidth
from keras_resnext.config import ResNeXtConfig as ResNeXtConfig
from keras_resnext.config import Stem as Stem
from keras_resnext.config import Template as Template
from keras_resnext.exporting import ExportError as ExportError
from keras_resnext.exporting import ExportReport as ExportReport
from keras_resnext.exporting import export as export
from keras_resnext.features import block_outputs as block_outputs
from keras_resnext.features import feature_pyramid as feature_pyramid
from keras_resnext.inference import (
    optimize_for_inference as optimize_for_inference,
)
from keras_resnext.models import ResNeXt as ResNeXt
from keras_resnext.models import get_model as get_model
from keras_resnext.models import list_models as list_models
from keras_resnext.models import model_from_checkpoint as model_from_checkpoint
from keras_resnext.preprocessing import (
    EvaluationTransform as EvaluationTransform,
)
from keras_resnext.preprocessing import decode_predictions as decode_predictions
from keras_resnext.preprocessing import (
    evaluation_transform as evaluation_transform,
)
from keras_resnext.preprocessing import preprocess_input as preprocess_input
from keras_resnext.variants import VARIANTS as VARIANTS
from keras_resnext.weights.catalogue import list_weights as list_weights
from keras_resnext.weights.fetch import (
    WeightsUnavailableError as WeightsUnavailableError,
)
from keras_resnext.weights.inspect import CheckpointInfo as CheckpointInfo
from keras_resnext.weights.inspect import (
    inspect_checkpoint as inspect_checkpoint,
)
from keras_resnext.weights.load import download_weights as download_weights
from keras_resnext.weights.load import load_checkpoint as load_checkpoint
from keras_resnext.weights.readers import CheckpointError as CheckpointError
from keras_resnext.weights.records import Weights as Weights
from keras_resnext.weights.save import (
    save_torch_checkpoint as save_torch_checkpoint,
)
from keras_resnext.weights.save import (
    to_torch_state_dict as to_torch_state_dict,
)

__all__ = [
    "VARIANTS",
    "Attention",
    "CheckpointError",
    "CheckpointInfo",
    "EvaluationTransform",
    "ExportError",
    "ExportReport",
    "GroupWidth",
    "ResNeXt",
    "ResNeXtConfig",
    "Stem",
    "Template",
    "Weights",
    "WeightsUnavailableError",
    "block_outputs",
    "complexity",
    "decode_predictions",
    "download_weights",
    "evaluation_transform",
    "explain",
    "export",
    "feature_pyramid",
    "finetuning",
    "get_model",
    "inspect_checkpoint",
    "layers",
    "list_models",
    "list_weights",
    "load_checkpoint",
    "model_from_checkpoint",
    "optimize_for_inference",
    "paper",
    "preprocess_input",
    "save_torch_checkpoint",
    "to_torch_state_dict",
    "training",
]
__all__ += callables.__all__
