"""Processes of distributed training: addresses, start and failure."""

import inspect
import json
import os
import random
import re
import sys
from types import TracebackType
from typing import Any

import keras
import numpy as np

_HEARTBEAT = 20  # seconds of silence after which a JAX process is dead


def environment_names_several() -> bool:
    """Return whether the environment names several processes."""
    if keras.config.backend() == "jax":
        return _keras_processes() > 1 or _slurm_tasks() > 1
    hosts, _ = _tensorflow_cluster()
    return len(hosts) > 1


def tensorflow_strategy() -> tuple[Any, int, int]:
    """Connect with the other workers.

    Returns:
        The `tf.distribute.Strategy`, the index of this worker, and the number
        of workers.

    Raises:
        ValueError: If the environment doesn't name them.
    """
    hosts, worker = _tensorflow_cluster()
    if not hosts:
        raise ValueError(
            "The strategy 'multiworker' needs the addresses of the workers "
            "in the environment variable TF_CONFIG, on each worker with its "
            'own index: {"cluster": {"worker": ["host0:12345", '
            '"host1:12345"]}, "task": {"type": "worker", "index": 0}}. Under '
            "Slurm, start the program with srun instead."
        )
    _explain_lost_workers(worker, len(hosts))
    return _multi_worker_strategy(hosts, worker), worker, len(hosts)


def tensorflow_dataset(strategy: Any, dataset: Any) -> Any:
    """Distribute only a worker's own rows among its devices."""
    devices = len(strategy.extended.worker_devices)
    if devices == 1:
        return strategy.distribute_datasets_from_function(lambda _: dataset)
    rows = keras.tree.flatten(dataset.element_spec)[0].shape[0]
    if not rows or rows % devices:
        raise ValueError(
            f"{devices} devices can't divide batches of {rows} rows evenly. "
            "Give `dataset` batches of a fixed size that they divide, with "
            "drop_remainder=True."
        )
    # Each device takes one batch of the function's dataset, and `fit` relies
    # on the cardinality for the number of steps.
    shares = dataset.rebatch(rows // devices, drop_remainder=True)
    distributed = strategy.distribute_datasets_from_function(lambda _: shares)
    distributed._cardinality = dataset.cardinality().numpy()
    return distributed


def start_jax() -> None:
    """Connect with the other processes, if the environment names several.

    Raises:
        ValueError: If it names them only in part.
    """
    import jax

    if not environment_names_several():
        return
    arguments: dict[str, Any] = {}
    if _keras_processes() > 1:
        variables = [f"KERAS_DISTRIBUTION_{n}" for n in _KERAS_VARIABLES]
        missing = [name for name in variables if not os.environ.get(name)]
        if missing:
            raise ValueError(
                f"{' and '.join(missing)} must be set, as "
                f"{' and '.join(set(variables) - set(missing))} is."
            )
        addresses, processes, index = (os.environ[n] for n in variables)
        arguments = {
            "coordinator_address": addresses.split(",")[0],
            "num_processes": int(processes),
            "process_id": int(index),
        }
    # `keras.distribution.initialize` would keep the default of 90 seconds.
    heartbeat = "heartbeat_timeout_seconds"
    if heartbeat in inspect.signature(jax.distributed.initialize).parameters:
        arguments[heartbeat] = _HEARTBEAT
    jax.distributed.initialize(**arguments)
    _share_seed()


_KERAS_VARIABLES = ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")


def _keras_processes() -> int:
    addresses = os.environ.get("KERAS_DISTRIBUTION_JOB_ADDRESSES", "")
    number = os.environ.get("KERAS_DISTRIBUTION_NUM_PROCESSES", "1")
    return max(int(number), addresses.count(",") + 1)


def _share_seed() -> None:
    """Seed Keras equally in all processes: weights must be equal."""
    from jax.experimental import multihost_utils

    chance = random.Random()
    chance.setstate(random.getstate())  # which Keras' own seeds come from
    seed = np.array(chance.getrandbits(31), "int32")
    seeds = multihost_utils.process_allgather(seed)
    if len(set(seeds.tolist())) > 1:
        keras.utils.set_random_seed(int(seeds[0]))


def _tensorflow_cluster() -> tuple[list[str], int]:
    """Return the workers' addresses, the chief's first, and this index."""
    config = os.environ.get("TF_CONFIG")
    if not config:
        return _slurm_cluster()
    try:
        parsed = json.loads(config)
        cluster, task = parsed["cluster"], parsed["task"]
        hosts = [*cluster.get("chief", []), *cluster.get("worker", [])]
        worker = hosts.index(cluster[task["type"]][int(task["index"])])
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as e:
        raise ValueError(
            "TF_CONFIG must be like "
            '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, '
            '"task": {"type": "worker", "index": 0}}. '
            f"Received: {config}"
        ) from e
    return hosts, worker


def _slurm_tasks() -> int:
    if "SLURM_PROCID" not in os.environ:
        return 1
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))


def _slurm_cluster() -> tuple[list[str], int]:
    # tf.distribute's SlurmClusterResolver sorts hosts by name, so ranks are
    # wrong if node10 follows node9, and it needs GPUs to count.
    if _slurm_tasks() == 1:
        return [], 0
    nodes = _expand(os.environ["SLURM_STEP_NODELIST"])
    tasks: list[int] = []
    for part in os.environ["SLURM_STEP_TASKS_PER_NODE"].split(","):
        number, _, times = part.partition("(x")
        tasks += [int(number)] * int(times.rstrip(")") or 1)
    # Jobs that share a machine must not share ports.
    first = 10000 + int(os.environ.get("SLURM_JOB_ID", "0")) * 16 % 20000
    hosts = [
        f"{node}:{first + i}"
        for node, number in zip(nodes, tasks, strict=True)
        for i in range(number)
    ]
    return hosts, int(os.environ["SLURM_PROCID"])


def _expand(nodes: str) -> list[str]:
    """Expand Slurm's `a[1-2,7],b` to a1, a2, a7, b."""
    expanded = []
    for name in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", nodes):
        before, bracket, rest = name.partition("[")
        if not bracket:
            expanded.append(name)
            continue
        ranges, _, after = rest.partition("]")
        for part in ranges.split(","):
            low, _, high = part.partition("-")
            for number in range(int(low), int(high or low) + 1):
                digits = str(number).zfill(len(low))
                expanded += _expand(f"{before}{digits}{after}")
    return expanded


def _multi_worker_strategy(hosts: list[str], worker: int) -> Any:
    import tensorflow as tf

    class Strategy(tf.distribute.MultiWorkerMirroredStrategy):
        """Strategy of `tf.distribute`, adapted to Keras 3's `fit`.

        https://github.com/keras-team/keras/issues/20585
        """

        def reduce(self, reduce_op: Any, value: Any, axis: Any = None) -> Any:
            leaves = tf.nest.flatten(value)
            if tf.nest.is_nested(value):
                # A whole batch, of which Keras needs only shapes and dtypes:
                # those of a replica's share suffice.
                local = [self.experimental_local_results(v)[0] for v in leaves]
                return tf.nest.pack_sequence_as(value, local)
            share = self.experimental_local_results(value)[0]
            if axis == 0 and share.shape.rank == 0:
                axis = None  # a number that Keras logs, without an axis
            return super().reduce(reduce_op, value, axis)

    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": hosts}),
        task_type="worker",
        task_id=worker,
        num_accelerators={"GPU": len(tf.config.list_physical_devices("GPU"))},
        rpc_layer="grpc",
    )
    return Strategy(resolver)


def _explain_lost_workers(worker: int, number: int) -> None:
    """Explain at exit that the program ended because another one did."""
    import tensorflow as tf

    before = sys.excepthook

    def hook(
        kind: type[BaseException],
        error: BaseException,
        traceback: TracebackType | None,
    ) -> None:
        before(kind, error, traceback)
        if isinstance(error, tf.errors.OpError) and "ollective" in str(error):
            print(
                f"\nWorker {worker} of {number} stops because another worker "
                "died or can't be reached; see its output for the cause. "
                "Restart all workers, from the last checkpoint.",
                file=sys.stderr,
            )

    sys.excepthook = hook
