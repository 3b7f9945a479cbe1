"""Fixtures of every test, and the state that they restore."""

import gc
import importlib.util
import os
import pathlib

# The tests compile much and compute little: unoptimized, XLA takes half a
# second for the random numbers of one new shape, instead of five.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
# Other processes, scripts and runs reuse what one test compiled.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR",
    str(pathlib.Path(__file__).parents[1] / ".pytest_cache" / "d" / "jax"),
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import pytest


def pytest_configure(config):
    # Frameworks create objects by the million, and few cycles: at Python's own
    # threshold of 700, a twelfth of the time goes into looking for them.
    gc.set_threshold(50_000, 20, 100)
    # NumPy 2 of torch's tensors, in keras.ops.convert_to_numpy and elsewhere.
    config.addinivalue_line(
        "filterwarnings",
        "ignore:__array__ implementation doesn't accept:DeprecationWarning",
    )
    # JAX, where a test of another backend has imported it.
    config.addinivalue_line(
        "filterwarnings", r"ignore:os\.fork\(\) was called:RuntimeWarning"
    )


def pytest_collection_modifyitems(items):
    missing = [
        name
        for name in ("torch", "timm")
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        skip = pytest.mark.skip(reason=f"needs {' and '.join(missing)}")
        for item in items:
            if item.get_closest_marker("parity"):
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def keras_as_it_was():
    """Undo what a test did to Keras' global state, and seed it."""
    # Here, since the process that hands tests to others needs no framework.
    import keras

    data_format = keras.config.image_data_format()
    policy = keras.config.dtype_policy()
    floatx = keras.config.floatx()
    # Garbage collection would take longer than most tests.
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_image_data_format(data_format)
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Return a folder of little images of two colors."""
    import color_images

    return color_images.save(tmp_path_factory.mktemp("colors"))


@pytest.fixture
def reader(monkeypatch, tmp_path):
    """Return a folder to work in: no downloads, short models, one format."""
    import dataclasses

    import color_images
    import numpy as np
    import PIL.Image

    import keras_resnext
    from keras_resnext import models
    from keras_resnext import resnext
    from keras_resnext.weights import records

    def build(config, *arguments, whole=resnext.build):
        if len(config.depths) == 4:  # the names of the last blocks stay
            depths = (1, 1, 1, config.depths[-1])
            config = dataclasses.replace(config, depths=depths)
        return whole(config, *arguments)

    def load(model, source, *arguments, whole=models.load_checkpoint):
        if isinstance(source, records.Weights) and not isinstance(
            source.sources[0], records.PackageFile
        ):
            model.weights_info = source
        else:
            whole(model, source, *arguments)

    def export(model, path, formats=(), whole=keras_resnext.export, **kwargs):
        return whole(model, path, ["saved_model"], **kwargs)

    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (70, 90, 3), "uint8")
    PIL.Image.fromarray(noise).save("image.jpg")
    color_images.save(tmp_path / "path" / "to" / "folder")
    monkeypatch.setattr(resnext, "build", build)
    monkeypatch.setattr(models, "load_checkpoint", load)
    monkeypatch.setattr(keras_resnext, "export", export)
    return tmp_path


@pytest.fixture
def not_validated(monkeypatch):
    """Leave out the process in which `export` runs the files it wrote."""
    from keras_resnext.exporting import ExportedFile
    from keras_resnext.exporting import comparison
    from keras_resnext.exporting.report import sha256_of

    def right(format, path, *_):
        return ExportedFile(
            *(format.name, format.file, 1, sha256_of(path)),
            *(0.0, 1.0, None, 1.0, 1, True),
        )

    monkeypatch.setattr(comparison, "run", lambda *_: None)
    monkeypatch.setattr(comparison, "compare", right)


@pytest.fixture(scope="session")
def tiny():
    """Return a ResNeXt of two stages of one block, fast to train."""
    import keras_resnext

    return keras_resnext.ResNeXtConfig(
        depths=(1, 1),
        grouping=keras_resnext.FixedCardinality(4, 16),
        out_channels=(32, 64),
        stem=keras_resnext.Stem(widths=(8,), kernel_size=3),
        default_size=32,
    )
