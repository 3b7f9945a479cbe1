"""ResNeXt for Keras 3, on TensorFlow, JAX and torch."""

from keras_resnext import complexity as complexity
from keras_resnext import explain as explain
from keras_resnext import finetuning as finetuning
from keras_resnext import layers as layers
from keras_resnext import training as training
from keras_resnext.callables import BATResNeXt26TS as BATResNeXt26TS
from keras_resnext.callables import CSPResNeXt50 as CSPResNeXt50
from keras_resnext.callables import ECAResNeXt26t_32x4d as ECAResNeXt26t_32x4d
from keras_resnext.callables import ECAResNeXt26TS as ECAResNeXt26TS
from keras_resnext.callables import ECAResNeXt50t_32x4d as ECAResNeXt50t_32x4d
from keras_resnext.callables import GCResNeXt26TS as GCResNeXt26TS
from keras_resnext.callables import GCResNeXt50TS as GCResNeXt50TS
from keras_resnext.callables import (
    LegacySEResNeXt26_32x4d as LegacySEResNeXt26_32x4d,
)
from keras_resnext.callables import (
    LegacySEResNeXt50_32x4d as LegacySEResNeXt50_32x4d,
)
from keras_resnext.callables import (
    LegacySEResNeXt101_32x4d as LegacySEResNeXt101_32x4d,
)
from keras_resnext.callables import ResNeXt23s_4x32d as ResNeXt23s_4x32d
from keras_resnext.callables import ResNeXt26TS as ResNeXt26TS
from keras_resnext.callables import ResNeXt29_8x64d as ResNeXt29_8x64d
from keras_resnext.callables import ResNeXt29_16x64d as ResNeXt29_16x64d
from keras_resnext.callables import ResNeXt50 as ResNeXt50
from keras_resnext.callables import ResNeXt50_32x4d as ResNeXt50_32x4d
from keras_resnext.callables import ResNeXt50d_32x4d as ResNeXt50d_32x4d
from keras_resnext.callables import ResNeXt101 as ResNeXt101
from keras_resnext.callables import ResNeXt101_32x4d as ResNeXt101_32x4d
from keras_resnext.callables import ResNeXt101_32x8d as ResNeXt101_32x8d
from keras_resnext.callables import ResNeXt101_32x16d as ResNeXt101_32x16d
from keras_resnext.callables import ResNeXt101_32x32d as ResNeXt101_32x32d
from keras_resnext.callables import ResNeXt101_32x48d as ResNeXt101_32x48d
from keras_resnext.callables import ResNeXt101_64x4d as ResNeXt101_64x4d
from keras_resnext.callables import ResNeXt152_32x4d as ResNeXt152_32x4d
from keras_resnext.callables import SEResNeXt26d_32x4d as SEResNeXt26d_32x4d
from keras_resnext.callables import SEResNeXt26t_32x4d as SEResNeXt26t_32x4d
from keras_resnext.callables import SEResNeXt26TS as SEResNeXt26TS
from keras_resnext.callables import SEResNeXt50_32x4d as SEResNeXt50_32x4d
from keras_resnext.callables import SEResNeXt101_32x4d as SEResNeXt101_32x4d
from keras_resnext.callables import SEResNeXt101_32x8d as SEResNeXt101_32x8d
from keras_resnext.callables import SEResNeXt101_64x4d as SEResNeXt101_64x4d
from keras_resnext.callables import SEResNeXt101d_32x8d as SEResNeXt101d_32x8d
from keras_resnext.callables import (
    SEResNeXtAA101d_32x8d as SEResNeXtAA101d_32x8d,
)
from keras_resnext.callables import (
    SEResNeXtAA201d_32x8d as SEResNeXtAA201d_32x8d,
)
from keras_resnext.callables import SKResNeXt50_32x4d as SKResNeXt50_32x4d
from keras_resnext.config import Attention as Attention
from keras_resnext.config import FixedCardinality as FixedCardinality
from keras_resnext.config import FixedGroupWidth as FixedGroupWidth
from keras_resnext.config import ResNeXtConfig as ResNeXtConfig
from keras_resnext.config import Stem as Stem
from keras_resnext.data_config import DataConfig as DataConfig
from keras_resnext.exporting import ExportedModel as ExportedModel
from keras_resnext.exporting import ExportError as ExportError
from keras_resnext.exporting import ExportReport as ExportReport
from keras_resnext.exporting import export as export
from keras_resnext.exporting import load_exported as load_exported
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
from keras_resnext.resnext_model import ResNeXtModel as ResNeXtModel
from keras_resnext.resnext_model import get_data_config as get_data_config
from keras_resnext.resnext_model import set_data_config as set_data_config
from keras_resnext.variants import VARIANTS as VARIANTS
from keras_resnext.weights.catalog import get_weights as get_weights
from keras_resnext.weights.catalog import list_weights as list_weights
from keras_resnext.weights.checkpoint import Checkpoint as Checkpoint
from keras_resnext.weights.checkpoint import (
    inspect_checkpoint as inspect_checkpoint,
)
from keras_resnext.weights.checkpoint import load_checkpoint as load_checkpoint
from keras_resnext.weights.checkpoint import (
    save_torch_checkpoint as save_torch_checkpoint,
)
from keras_resnext.weights.fetch import (
    WeightsUnavailableError as WeightsUnavailableError,
)
from keras_resnext.weights.fetch import download_weights as download_weights
from keras_resnext.weights.files import CheckpointError as CheckpointError
from keras_resnext.weights.records import Weights as Weights
from keras_resnext.weights.state_dicts import (
    to_torch_state_dict as to_torch_state_dict,
)

__all__ = [
    "VARIANTS",
    "Attention",
    "BATResNeXt26TS",
    "CSPResNeXt50",
    "Checkpoint",
    "CheckpointError",
    "DataConfig",
    "ECAResNeXt26TS",
    "ECAResNeXt26t_32x4d",
    "ECAResNeXt50t_32x4d",
    "EvaluationTransform",
    "ExportError",
    "ExportReport",
    "ExportedModel",
    "FixedCardinality",
    "FixedGroupWidth",
    "GCResNeXt26TS",
    "GCResNeXt50TS",
    "LegacySEResNeXt26_32x4d",
    "LegacySEResNeXt50_32x4d",
    "LegacySEResNeXt101_32x4d",
    "ResNeXt",
    "ResNeXt23s_4x32d",
    "ResNeXt26TS",
    "ResNeXt29_8x64d",
    "ResNeXt29_16x64d",
    "ResNeXt50",
    "ResNeXt50_32x4d",
    "ResNeXt50d_32x4d",
    "ResNeXt101",
    "ResNeXt101_32x4d",
    "ResNeXt101_32x8d",
    "ResNeXt101_32x16d",
    "ResNeXt101_32x32d",
    "ResNeXt101_32x48d",
    "ResNeXt101_64x4d",
    "ResNeXt152_32x4d",
    "ResNeXtConfig",
    "ResNeXtModel",
    "SEResNeXt26TS",
    "SEResNeXt26d_32x4d",
    "SEResNeXt26t_32x4d",
    "SEResNeXt50_32x4d",
    "SEResNeXt101_32x4d",
    "SEResNeXt101_32x8d",
    "SEResNeXt101_64x4d",
    "SEResNeXt101d_32x8d",
    "SEResNeXtAA101d_32x8d",
    "SEResNeXtAA201d_32x8d",
    "SKResNeXt50_32x4d",
    "Stem",
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
    "get_data_config",
    "get_model",
    "get_weights",
    "inspect_checkpoint",
    "layers",
    "list_models",
    "list_weights",
    "load_checkpoint",
    "load_exported",
    "model_from_checkpoint",
    "optimize_for_inference",
    "preprocess_input",
    "save_torch_checkpoint",
    "set_data_config",
    "to_torch_state_dict",
    "training",
]

__version__ = "0.1.0"
