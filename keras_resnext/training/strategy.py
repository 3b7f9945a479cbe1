"""Training strategy for several devices or machines.

strategy = keras_resnext.training.strategy.start("auto")
with strategy.scope():
    model = ...
    model.compile(...)
model.fit(strategy.distribute(dataset))
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import keras

from keras_resnext.kernels import kernels
from keras_resnext.suggestions import did_you_mean
from keras_resnext.training import multi_worker

replicas_in_sync = kernels.replicas_in_sync
sum_over_replicas = kernels.sum_over_replicas

_NAMES = {
    "tensorflow": ("auto", "none", "mirrored", "multiworker"),
    "jax": ("auto", "none", "jax"),
}


@dataclasses.dataclass(frozen=True)
class Strategy:
    """Training strategy for several devices; `start` returns one.

    Each of `num_workers` processes feeds its share of every batch to its
    devices. After each step all `num_replicas` devices have the same weights,
    moving statistics and optimizer state, so any worker can save them.

    Args:
        name: `"none"`, `"mirrored"`, `"multiworker"` or `"jax"`.
        num_replicas: Devices that compute a step together.
        num_workers: Processes that compute a step together.
        worker: Index of this process, from 0.

    Example:
    >>> strategy = keras_resnext.training.strategy.start("none")
    >>> with strategy.scope():
    ...     model = keras_resnext.ResNeXt23s_4x32d(weights=None)
    >>> if strategy.is_chief:
    ...     with strategy.chief_only():
    ...         model.save("model.keras")
    """

    name: str
    num_replicas: int = 1
    num_workers: int = 1
    worker: int = 0
    _backend: Any = dataclasses.field(default=None, repr=False)

    @property
    def is_chief(self) -> bool:
        """True for the worker that writes files: the first."""
        return self.worker == 0

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Return the scope in which to build and compile the model."""
        if self._backend is None:
            return contextlib.nullcontext()
        return self._backend.scope()

    @contextlib.contextmanager
    def chief_only(self) -> Iterator[None]:
        """Return the scope in which only one worker writes files.

        Without it, saving on JAX creates a variable and waits for the others.
        """
        if self.name != "jax":
            yield
            return
        before = keras.distribution.distribution()
        keras.distribution.set_distribution(None)
        try:
            yield
        finally:
            keras.distribution.set_distribution(before)

    def distribute(self, dataset: Any) -> Any:
        """Prepare a dataset for `fit`, `evaluate` and `predict`.

        All workers must have the same number of batches, with equally many
        rows. Pad the last batch of an evaluation with rows of sample weight 0,
        and pass `weighted_metrics` to `compile`.

        Args:
            dataset: A batched `tf.data.Dataset` of this worker's rows of each
                batch, `batch / num_workers`, divisible by its number of
                devices.

        Returns:
            The dataset for `fit`, `evaluate` or `predict`. `predict` returns
            predictions for all workers' rows, batch by batch, the first
            worker's rows first; on JAX Keras can't predict with several
            processes.
        """
        if self.name == "multiworker":
            return multi_worker.tensorflow_dataset(self._backend, dataset)
        return dataset


def start(name: str = "auto") -> Strategy:
    """Start training on several devices or machines.

    Call it before anything else of Keras: machines connect before the first
    tensor. Each machine runs the same program. On TensorFlow they find each
    other by `TF_CONFIG`; on JAX by `KERAS_DISTRIBUTION_JOB_ADDRESSES`,
    `KERAS_DISTRIBUTION_NUM_PROCESSES` and `KERAS_DISTRIBUTION_PROCESS_ID`;
    under Slurm's `srun` by its variables. If one dies, the others end with an
    error within a minute.

    Args:
        name: `"none"`; on TensorFlow `"mirrored"` (the devices of this
            machine) or `"multiworker"` (those of several); on JAX `"jax"`
            (all devices of all processes); or `"auto"`, which chooses by the
            devices and processes. torch supports one device only.

    Returns:
        The strategy. On JAX it becomes Keras' global distribution.

    Raises:
        ValueError: If the backend has no such strategy, or the variables
            that name the workers are missing.

    Example:
    >>> strategy = keras_resnext.training.strategy.start("auto")
    >>> strategy.num_replicas, strategy.is_chief
    (1, True)
    """
    backend = keras.config.backend()
    valid = _NAMES.get(backend, ("auto", "none"))
    if name not in valid:
        reason = ""
        if backend not in _NAMES:
            reason = f" Keras trains on one device only with {backend}."
        raise ValueError(
            f"The {backend} backend has no strategy {name!r}."
            f"{did_you_mean(name, valid)}{reason} Strategies: "
            f"{', '.join(valid)}."
        )
    if backend == "jax":
        return _start_jax(name)
    if backend == "tensorflow":
        return _start_tensorflow(name)
    return Strategy("none")


def prepare(
    name: str = "auto", seed: int = 0, deterministic: bool = False
) -> Strategy:
    """Prepare this process for training, before it creates the first tensor.

    Args:
        name: Name of a strategy, as for `start`.
        seed: Seed of all randomness.
        deterministic: Whether results are reproducible, at a lower speed.

    Returns:
        The `Strategy`.

    Raises:
        ValueError: As by `start`.
    """
    import tensorflow as tf

    if keras.backend.backend() != "tensorflow":
        # TensorFlow only reads images, and must not take the GPU's memory.
        with contextlib.suppress(RuntimeError):  # already initialized
            tf.config.set_visible_devices([], "GPU")
    if deterministic:
        tf.config.experimental.enable_op_determinism()
        if keras.backend.backend() == "torch":
            import torch

            torch.use_deterministic_algorithms(True)
    started = start(name)
    keras.utils.set_random_seed(seed)
    return started


def synchronize_batch_norm(model: keras.Model) -> None:
    """Normalize by the statistics of the whole batch on all replicas.

    By default each replica of TensorFlow normalizes by the statistics of its
    own share, which is cheaper, and as good for shares of 16 images or more.
    JAX always normalizes by the whole batch. Compile afterwards.

    Args:
        model: A model, whose `BatchNormalization` layers are changed.

    Example:
    >>> strategy = keras_resnext.training.strategy.start("auto")
    >>> with strategy.scope():
    ...     model = keras_resnext.ResNeXt50(weights=None)
    ...     keras_resnext.training.strategy.synchronize_batch_norm(model)
    ...     model.compile("sgd", "sparse_categorical_crossentropy")
    """
    if keras.config.backend() != "tensorflow":
        return
    for layer in model._flatten_layers():  # including nested layers
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True


def _start_tensorflow(name: str) -> Strategy:
    import tensorflow as tf

    several = multi_worker.environment_names_several
    if name == "multiworker" or (name == "auto" and several()):
        strategy, worker, workers = multi_worker.tensorflow_strategy()
        replicas = strategy.num_replicas_in_sync
        return Strategy("multiworker", replicas, workers, worker, strategy)
    if name == "none":
        return Strategy("none")
    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus or tf.config.list_logical_devices("CPU")
    if name == "auto" and len(devices) == 1:
        return Strategy("none")
    strategy = tf.distribute.MirroredStrategy([d.name for d in devices])
    return Strategy("mirrored", len(devices), _backend=strategy)


def _start_jax(name: str) -> Strategy:
    if name == "none":
        return Strategy("none")
    multi_worker.start_jax()
    distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
    replicas = distribution.num_model_replicas
    if name == "auto" and replicas == 1:
        return Strategy("none")
    # `fit` needs it too, and runs outside the scope.
    keras.distribution.set_distribution(distribution)
    return Strategy(
        "jax",
        replicas,
        distribution.num_processes,
        distribution.data_shard_id,
        distribution,
    )
