"""Training by the papers' recipes."""

from keras_resnext.training import averaging as averaging
from keras_resnext.training import losses as losses
from keras_resnext.training import optimizers as optimizers
from keras_resnext.training import recipes as recipes
from keras_resnext.training import schedules as schedules
from keras_resnext.training import strategy as strategy
