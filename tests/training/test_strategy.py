"""Steps of several devices against those of one."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from keras_resnext.training import multi_worker
from keras_resnext.training import strategy

BACKEND = keras.backend.backend()
on_tensorflow = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="about tf.distribute"
)

# A process of its own, as devices are made before TensorFlow starts.
SCRIPT = """
import contextlib, json, sys
import keras, numpy as np, tensorflow as tf
from keras_resnext.layers import BatchNormalization
from keras_resnext.training import optimizers

cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
rng = np.random.default_rng(0)
x = rng.normal(size=(24, 6)).astype("float32")
y = 10 * rng.normal(size=(24, 3)).astype("float32")

def end(scope, kind, arguments, scaled):
    keras.utils.set_random_seed(0)
    with scope:
        model = keras.Sequential(
            [keras.Input((6,)), keras.layers.Dense(8), keras.layers.Dense(3)]
        )
        optimizer = getattr(optimizers, kind)(
            0.05, weight_decay=0.1, **arguments
        )
        if scaled:
            optimizer = optimizers.LossScaleOptimizer(
                optimizer, initial_scale=8.0, dynamic_growth_steps=2
            )
        model.compile(optimizer, "mse")
    losses = model.fit(x, y, 8, epochs=4, verbose=0, shuffle=False)
    if scaled:  # The second replica's share of a step has infinities.
        broken = x.copy()
        broken[14] = np.inf
        model.fit(broken, y, 8, verbose=0, shuffle=False)
    return [*model.get_weights(), np.array(losses.history["loss"])]

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2
for case in json.loads(sys.argv[1]):
    ours = end(strategy.scope(), *case), end(contextlib.nullcontext(), *case)
    for two, one in zip(*ours, strict=True):
        np.testing.assert_allclose(two, one, 1e-4, 1e-5, err_msg=str(case))
"""
# Replicas gather the statistics of the whole batch, be a share empty.
STATISTICS = """
random = np.random.default_rng(0)

def step(layer, x, cotangent):
    with tf.GradientTape() as tape:
        y = layer(x, training=True)
        loss = tf.reduce_sum(y * cotangent)
    return tape.gradient(loss, layer.trainable_weights)

def run(shares, arrays, synchronized):
    with strategy.scope():
        layer = BatchNormalization(
            activation="relu", synchronized=synchronized
        )
        layer.build((None, 3, 5, 6))
    values = [
        strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(
                np.split(array, [shares[0]])[context.replica_id_in_sync_group]
            )
        )
        for array in arrays
    ]
    slopes = tf.function(
        lambda values: strategy.run(step, (layer, *values)), autograph=False
    )(values)
    return layer, [strategy.reduce("SUM", slope, None) for slope in slopes]

for shares in ((3, 1), (4, 0), (0, 1)):
    x = random.normal(30, 2, size=(sum(shares), 3, 5, 6)).astype("float32")
    x += 3 * np.arange(len(x), dtype="float32")[:, None, None, None]
    arrays = x, random.normal(size=x.shape).astype("float32")
    alone = BatchNormalization(activation="relu")
    expected = step(alone, *map(tf.constant, arrays))
    for synchronized in (False, True):
        layer, slopes = run(shares, arrays, synchronized)
        about = f"{shares}, synchronized: {synchronized}"
        for one, other in (
            (layer.moving_mean, alone.moving_mean),
            (layer.moving_variance, alone.moving_variance),
        ):
            np.testing.assert_allclose(one, other, 1e-4, err_msg=about)
        if synchronized or 0 in shares:
            for one, other in zip(slopes, expected, strict=True):
                np.testing.assert_allclose(
                    one, other, 1e-3, 1e-4, err_msg=about
                )
        assert all(np.isfinite(slope).all() for slope in slopes), about
"""


GATHER = {"gradient_accumulation_steps": 2}
AVERAGE = {"use_ema": True, "ema_momentum": 0.5}
OVERWRITE = {**AVERAGE, "ema_overwrite_frequency": 3}


@on_tensorflow
@pytest.mark.parametrize(
    ("cases", "more"),
    [
        ([("LAMB", {"global_clipnorm": 0.5}, False)], STATISTICS),
        pytest.param(
            [
                ("SGD", {"clipvalue": 0.5}, False),
                ("SGD", {"clipnorm": 0.5}, False),
                ("SGD", AVERAGE, False),
                ("LAMB", {**OVERWRITE, **GATHER}, False),
                ("SGD", {**GATHER, "clipnorm": 0.5}, False),
                ("SGD", OVERWRITE, True),
                ("LAMB", {}, True),
            ],
            "",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["clipped, and statistics", "others"],
)
def test_two_replicas_step_as_one(cases, more):
    # Without oneDNN, as on GPUs, an empty share has statistics of NaN.
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + more, json.dumps(cases)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr[-3000:]


CLUSTER = pathlib.Path(__file__).with_name("cluster.py")
QUIET = {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"}


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def processes(name, number, folder, **options):
    """Start `number` processes of cluster.py, which find each other."""
    folder.mkdir()
    hosts = [f"127.0.0.1:{free_port()}" for _ in range(number)]
    flags = os.environ.get("XLA_FLAGS", "")
    if name == "jax":
        devices = 2 // number
        flags += f" --xla_force_host_platform_device_count={devices}"
    started = []
    for index in range(number):
        named = {"XLA_FLAGS": flags}
        task = {"type": "worker", "index": index}
        if number > 1 and BACKEND == "jax":
            prefix = "KERAS_DISTRIBUTION_"
            named[f"{prefix}JOB_ADDRESSES"] = ",".join(hosts)
            named[f"{prefix}NUM_PROCESSES"] = str(number)
            named[f"{prefix}PROCESS_ID"] = str(index)
        elif number > 1:
            named["TF_CONFIG"] = json.dumps(
                {"cluster": {"worker": hosts}, "task": task}
            )
        with (folder / f"{index}.txt").open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, CLUSTER, name, folder, json.dumps(options)],
                env={**os.environ, **QUIET, **named},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        started.append(process)
    return started


def finish(started, folder):
    """Return the findings of each of some processes of cluster.py."""
    for process in started:
        process.communicate(timeout=240)
        assert process.returncode == 0, (folder / "0.txt").read_text()[-3000:]
    return [dict(np.load(folder / f"{i}.npz")) for i in range(len(started))]


def results(name, number, folder, **options):
    return finish(processes(name, number, folder, **options), folder)


def assert_same(found, expected, tolerance):
    for key in expected:
        np.testing.assert_allclose(
            found[key], expected[key], tolerance, tolerance, err_msg=key
        )


@pytest.mark.slow
@on_tensorflow
def test_two_workers_are_two_replicas(tmp_path):
    first, second = results("multiworker", 2, tmp_path / "2", **{"as": "auto"})
    assert_same(second, first, 0)
    (mirrored,) = results("mirrored", 1, tmp_path / "1", **{"as": "auto"})
    assert_same(first, mirrored, 1e-5)
    # Twice as many rows as one share, and in order.
    assert first["predictions"].shape == (40, 5)
    loaded = keras.saving.load_model(tmp_path / "2" / "model.keras")
    np.testing.assert_array_equal(loaded.weights[0], first["weight0"])


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "jax", reason="about keras.distribution")
def test_two_processes_are_two_devices(tmp_path):
    first, second = results("jax", 2, tmp_path / "2", **{"as": "auto"})
    assert_same(second, first, 0)
    (devices,) = results("jax", 1, tmp_path / "1", **{"as": "auto"})
    assert devices.pop("predictions").shape == (40, 5)
    assert_same(first, devices, 1e-5)
    (alone,) = results("none", 1, tmp_path / "0")
    del alone["predictions"]
    assert_same(first, alone, 1e-4)
    loaded = keras.saving.load_model(tmp_path / "2" / "model.keras")
    np.testing.assert_array_equal(loaded.weights[0], first["weight0"])


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "torch", reason="torch has no strategies")
def test_weights_begin_equal_without_a_seed(tmp_path):
    name = "jax" if BACKEND == "jax" else "multiworker"
    first, second = results(name, 2, tmp_path / "2", equal=False)
    assert_same(second, first, 0)


@pytest.mark.slow
@on_tensorflow
def test_two_workers_gather_average_and_scale(tmp_path):
    arguments = {"learning_rate": 0.1, "momentum": 0.9, "clipnorm": 0.5}
    options = {"arguments": {**arguments, **OVERWRITE, **GATHER}}
    options |= {"scaled": True, "infinite": 13}
    workers = processes("multiworker", 2, tmp_path / "2", **options)
    (mirrored,) = results("mirrored", 1, tmp_path / "1", **options)
    first, second = finish(workers, tmp_path / "2")
    assert_same(second, first, 0)
    assert_same(first, mirrored, 1e-5)
    # The kernels of the convolutions; moving statistics saw the infinity.
    assert np.isfinite(first["weight0"]).all()
    assert np.isfinite(first["weight6"]).all()


@on_tensorflow
def test_the_devices_of_a_worker_divide_its_rows():
    import tensorflow as tf

    one = tf.distribute.MirroredStrategy(["CPU:0"])

    class Two:
        extended = type("", (), {"worker_devices": ["CPU:0", "CPU:1"]})
        function = one.distribute_datasets_from_function
        distribute_datasets_from_function = staticmethod(function)

    rows = tf.data.Dataset.range(12)
    whole = rows.batch(4, drop_remainder=True)
    shares = multi_worker.tensorflow_dataset(Two, whole)
    assert shares.cardinality == 3  # steps, of two shares each
    assert [share.shape for share in shares] == [(2,)] * 6
    with pytest.raises(ValueError, match="can't divide batches of 3 rows"):
        multi_worker.tensorflow_dataset(Two, rows.batch(3, True))
    with pytest.raises(ValueError, match="drop_remainder"):
        multi_worker.tensorflow_dataset(Two, rows.batch(4))


@pytest.mark.slow
@on_tensorflow
@pytest.mark.parametrize(
    ("name", "number"), [("mirrored", 1), ("multiworker", 2)]
)
def test_synchronized_statistics_are_those_of_one_device(
    name, number, tmp_path
):
    found = results(name, number, tmp_path / "2", synchronized=True)
    (alone,) = results("none", 1, tmp_path / "1")
    for each in found:
        assert_same(each, alone, 1e-4)  # of ten steps
    (apart,) = results("mirrored", 1, tmp_path / "0")
    assert np.abs(apart["losses"] - alone["losses"]).max() > 1e-3


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "torch", reason="torch has no strategies")
@pytest.mark.parametrize("victim", [0, 1])
def test_a_worker_that_dies_ends_the_others(victim, tmp_path):
    name = "jax" if BACKEND == "jax" else "multiworker"
    workers = processes(name, 2, tmp_path / "2", forever=True)
    survivor = workers[1 - victim]
    survivor.stdout.readline()  # An epoch has ended.
    workers[victim].send_signal(signal.SIGKILL)
    workers[victim].communicate()
    start = time.monotonic()
    survivor.communicate(timeout=60)
    print(f"{time.monotonic() - start:.1f} s")
    assert survivor.returncode != 0
    said = (tmp_path / "2" / f"{1 - victim}.txt").read_text()
    assert ("another worker died" if name != "jax" else "another task") in said


@pytest.mark.parametrize(
    "name", ["mirrored", "multiworker", "jax", "horovod", "mirored"]
)
def test_a_strategy_of_another_backend_is_refused(name):
    ours = {"tensorflow": ("mirrored", "multiworker"), "jax": ("jax",)}
    if name in ours.get(BACKEND, ()):
        return
    with pytest.raises(ValueError, match="Strategies: auto, none") as error:
        strategy.start(name)
    hint = BACKEND == "tensorflow" and name == "mirored"
    assert ("Did you mean 'mirrored'" in str(error.value)) is hint
    assert ("one device only" in str(error.value)) is (BACKEND == "torch")


@pytest.mark.parametrize("name", ["none", "auto"])
def test_one_device_needs_no_strategy(name):
    alone = strategy.start(name)
    assert alone == strategy.Strategy("none")
    assert alone.is_chief
    rows = object()
    with alone.scope(), alone.chief_only():
        assert alone.distribute(rows) is rows


@on_tensorflow
def test_workers_must_be_named(monkeypatch):
    with pytest.raises(ValueError, match="TF_CONFIG"):
        strategy.start("multiworker")
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1"]}}')
    with pytest.raises(ValueError, match="Received"):
        strategy.start("multiworker")


@pytest.mark.skipif(BACKEND != "jax", reason="about keras.distribution")
def test_processes_must_be_named_in_full(monkeypatch):
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "2")
    with pytest.raises(ValueError, match=r"JOB_ADDRESSES and .*PROCESS_ID"):
        strategy.start("jax")


def test_slurm_names_workers(monkeypatch):
    slurm = {
        "PROCID": "3",
        "JOB_ID": "7",
        "STEP_NUM_TASKS": "6",
        "STEP_NODELIST": "node[9-10,012],gpu-a,r[1-2]n1",
        "STEP_TASKS_PER_NODE": "1,2,1(x2),1,0",
    }
    for name, value in slurm.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    hosts, worker = multi_worker._tensorflow_cluster()
    names = [host.partition(":")[0] for host in hosts]
    assert names == ["node9", "node10", "node10", "node012", "gpu-a", "r1n1"]
    assert len(set(hosts)) == 6
    assert worker == 3
    assert multi_worker.environment_names_several()
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    assert not multi_worker.environment_names_several()


def test_the_chief_is_the_first_worker(monkeypatch):
    cluster = {"worker": ["b:1", "c:1"], "chief": ["a:1"]}
    task = {"type": "worker", "index": 1}
    config = json.dumps({"cluster": cluster, "task": task})
    monkeypatch.setenv("TF_CONFIG", config)
    hosts, worker = multi_worker._tensorflow_cluster()
    assert hosts == ["a:1", "b:1", "c:1"]
    assert worker == 2
