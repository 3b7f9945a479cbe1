"""Executable claims of the paper: https://arxiv.org/abs/1611.05431."""

from keras_resnext.paper.block_forms import aggregated_block as aggregated_block
from keras_resnext.paper.block_forms import convert_weights as convert_weights
from keras_resnext.paper.block_forms import named_weights as named_weights
from keras_resnext.paper.block_forms import (
    set_named_weights as set_named_weights,
)
from keras_resnext.paper.block_forms import two_layer_block as two_layer_block
from keras_resnext.paper.regrouping import Split as Split
from keras_resnext.paper.regrouping import merge_groups as merge_groups
from keras_resnext.paper.regrouping import split_groups as split_groups
from keras_resnext.paper.tables import CLAIMS as CLAIMS
from keras_resnext.paper.tables import TITLES as TITLES
from keras_resnext.paper.tables import Check as Check
from keras_resnext.paper.tables import Claim as Claim
from keras_resnext.paper.tables import check as check
