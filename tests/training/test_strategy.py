"""Steps of several devices against those of one."""

import os
import subprocess
import sys

import keras
import pytest

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="about tf.distribute"
)

# A process of its own, as devices are made before TensorFlow starts.
SCRIPT = """
import contextlib
import keras, numpy as np, tensorflow as tf
from keras_resnext.training import optimizers

cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
rng = np.random.default_rng(0)
x = rng.normal(size=(24, 6)).astype("float32")
y = 10 * rng.normal(size=(24, 3)).astype("float32")

def end(scope, kind, clip):
    keras.utils.set_random_seed(0)
    with scope:
        model = keras.Sequential(
            [keras.Input((6,)), keras.layers.Dense(8), keras.layers.Dense(3)]
        )
        optimizer = getattr(optimizers, kind)(
            0.05, weight_decay=0.1, **{clip: 0.5}
        )
        model.compile(optimizer, "mse")
    losses = model.fit(x, y, 8, epochs=4, verbose=0, shuffle=False)
    return [*model.get_weights(), np.array(losses.history["loss"])]

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2
for case in (
    ("SGD", "clipvalue"), ("SGD", "clipnorm"), ("LAMB", "global_clipnorm")
):
    ours = end(strategy.scope(), *case), end(contextlib.nullcontext(), *case)
    for two, one in zip(*ours, strict=True):
        np.testing.assert_allclose(two, one, 1e-4, 1e-5, err_msg=str(case))
"""


def test_two_replicas_clip_the_gradient_of_one():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
