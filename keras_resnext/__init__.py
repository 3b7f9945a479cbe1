"""ResNeXt for Keras 3, on TensorFlow, JAX and torch."""

from keras_resnext import finetuning as finetuning
from keras_resnext import layers as layers
from keras_resnext.models import ECAResNeXt26t_32x4d as ECAResNeXt26t_32x4d
from keras_resnext.models import ECAResNeXt26TS as ECAResNeXt26TS
from keras_resnext.models import ECAResNeXt50t_32x4d as ECAResNeXt50t_32x4d
from keras_resnext.models import GCResNeXt26TS as GCResNeXt26TS
from keras_resnext.models import GCResNeXt50TS as GCResNeXt50TS
from keras_resnext.models import ResNeXt as ResNeXt
from keras_resnext.models import ResNeXt26TS as ResNeXt26TS
from keras_resnext.models import ResNeXt29_8x64d as ResNeXt29_8x64d
from keras_resnext.models import ResNeXt29_16x64d as ResNeXt29_16x64d
from keras_resnext.models import ResNeXt50 as ResNeXt50
from keras_resnext.models import ResNeXt50_32x4d as ResNeXt50_32x4d
from keras_resnext.models import ResNeXt50d_32x4d as ResNeXt50d_32x4d
from keras_resnext.models import ResNeXt101 as ResNeXt101
from keras_resnext.models import ResNeXt101_32x4d as ResNeXt101_32x4d
from keras_resnext.models import ResNeXt101_32x8d as ResNeXt101_32x8d
from keras_resnext.models import ResNeXt101_32x16d as ResNeXt101_32x16d
from keras_resnext.models import ResNeXt101_32x32d as ResNeXt101_32x32d
from keras_resnext.models import ResNeXt101_32x48d as ResNeXt101_32x48d
from keras_resnext.models import ResNeXt101_64x4d as ResNeXt101_64x4d
from keras_resnext.models import ResNeXt152_32x4d as ResNeXt152_32x4d
from keras_resnext.models import SEResNeXt26d_32x4d as SEResNeXt26d_32x4d
from keras_resnext.models import SEResNeXt26t_32x4d as SEResNeXt26t_32x4d
from keras_resnext.models import SEResNeXt26TS as SEResNeXt26TS
from keras_resnext.models import SEResNeXt50_32x4d as SEResNeXt50_32x4d
from keras_resnext.models import SEResNeXt101_32x4d as SEResNeXt101_32x4d
from keras_resnext.models import SEResNeXt101_32x8d as SEResNeXt101_32x8d
from keras_resnext.models import SEResNeXt101_64x4d as SEResNeXt101_64x4d
from keras_resnext.models import SEResNeXt101d_32x8d as SEResNeXt101d_32x8d
from keras_resnext.models import SEResNeXtAA101d_32x8d as SEResNeXtAA101d_32x8d
from keras_resnext.models import SEResNeXtAA201d_32x8d as SEResNeXtAA201d_32x8d
from keras_resnext.models import get_model as get_model
from keras_resnext.models import list_models as list_models
from keras_resnext.preprocessing import (
    EvaluationTransform as EvaluationTransform,
)
from keras_resnext.preprocessing import decode_predictions as decode_predictions
from keras_resnext.preprocessing import (
    evaluation_transform as evaluation_transform,
)
from keras_resnext.preprocessing import preprocess_input as preprocess_input
from keras_resnext.variants import VARIANTS as VARIANTS
from keras_resnext.variants import Attention as Attention
from keras_resnext.variants import GroupWidth as GroupWidth
from keras_resnext.variants import ResNeXtConfig as ResNeXtConfig
from keras_resnext.variants import Stem as Stem
from keras_resnext.variants import Template as Template
from keras_resnext.weights.catalogue import Weights as Weights
from keras_resnext.weights.catalogue import list_weights as list_weights
from keras_resnext.weights.fetch import (
    WeightsUnavailableError as WeightsUnavailableError,
)
from keras_resnext.weights.readers import CheckpointError as CheckpointError

__version__ = "0.1.0"

__all__ = [
    "VARIANTS",
    "Attention",
    "CheckpointError",
    "ECAResNeXt26TS",
    "ECAResNeXt26t_32x4d",
    "ECAResNeXt50t_32x4d",
    "EvaluationTransform",
    "GCResNeXt26TS",
    "GCResNeXt50TS",
    "GroupWidth",
    "ResNeXt",
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
    "Stem",
    "Template",
    "Weights",
    "WeightsUnavailableError",
    "decode_predictions",
    "evaluation_transform",
    "finetuning",
    "get_model",
    "layers",
    "list_models",
    "list_weights",
    "preprocess_input",
]
