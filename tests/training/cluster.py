"""Train a small model as one of several processes.

    cluster.py STRATEGY FOLDER OPTIONS

OPTIONS is JSON; results are written to FOLDER/WORKER.npz.
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

from keras_resnext.layers import BatchNormalization
from keras_resnext.training import optimizers
from keras_resnext.training import strategy as strategies

name, folder, options = sys.argv[1:]
options = json.loads(options)
if keras.backend.backend() == "tensorflow":
    cpu = tf.config.list_physical_devices("CPU")[0]
    device = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(
        cpu, [device] * (2 if name == "mirrored" else 1)
    )
strategy = strategies.start(options.get("as", name))
assert strategy.name == name, strategy
assert strategy.num_replicas == (1 if name == "none" else 2), strategy
worker, workers = strategy.worker, strategy.num_workers
assert strategy.is_chief is (worker == 0)

random = np.random.default_rng(0)
x = random.normal(size=(40, 6, 6, 3)).astype("float32")
x[20:] += 1  # so that shares differ
if "infinite" in options:
    x[options["infinite"]] = np.inf
y = random.integers(0, 5, 40)
share = 8 // workers


def batches(*arrays: np.ndarray) -> tf.data.Dataset:
    """Return this worker's rows of batches of 8."""
    mine = [
        array.reshape(-1, workers, share, *array.shape[1:])[:, worker]
        for array in arrays
    ]
    return tf.data.Dataset.from_tensor_slices(tuple(mine))


layers = keras.layers
with strategy.scope():
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(8, 3),
            BatchNormalization(activation="relu"),
            layers.Conv2D(8, 3),
            BatchNormalization(activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(5, activation="softmax"),
        ]
    )
    if options.get("synchronized"):
        strategies.synchronize_batch_norm(model)
    for variable in model.trainable_variables:
        if options.get("equal", True):
            variable.assign(random.normal(size=variable.shape) / 2)
    optimizer = optimizers.SGD(
        **options.get("arguments", {"learning_rate": 0.1, "momentum": 0.9})
    )
    if options.get("scaled"):
        optimizer = optimizers.LossScaleOptimizer(
            optimizer, initial_scale=8.0, dynamic_growth_steps=3
        )
    model.compile(
        optimizer,
        "sparse_categorical_crossentropy",
        weighted_metrics=["accuracy", "sparse_categorical_crossentropy"],
    )

train = strategy.distribute(batches(x, y))
if options.get("forever"):
    tell = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: print(epoch, flush=True)
    )
    model.fit(train, epochs=10**6, verbose=0, callbacks=[tell])
history = model.fit(train, epochs=2, verbose=0).history
# 26 rows, padded to 32; the last share has padding only.
weight = (np.arange(32) < 26).astype("float32")
padded = batches(x[:32], y[:32], weight)
scores = model.evaluate(strategy.distribute(padded), verbose=0)
predictions = []
if workers == 1 or keras.backend.backend() != "jax":
    predictions = model.predict(strategy.distribute(batches(x)), verbose=0)
if strategy.is_chief:
    with strategy.chief_only():
        model.save(f"{folder}/model.keras")
np.savez(
    f"{folder}/{worker}.npz",
    losses=history["loss"],
    accuracies=history["accuracy"],
    scores=scores,
    predictions=predictions,
    **{
        f"weight{i}": variable.numpy()
        for i, variable in enumerate([*model.weights, *optimizer.variables])
    },
)
