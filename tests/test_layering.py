"""Who may import whom, and what an import costs."""

import ast
import os
import pathlib
import subprocess
import sys

import keras
import pytest

import keras_resnext

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "keras_resnext"

# What each module, or folder, may import: our own modules or folders, and
# other people's. `Tensor`, the word for a tensor of any backend, is in
# kernels.generic, which is why that stands everywhere.
TENSOR = "kernels.generic"
L0 = {
    "atomic_files",
    "config",
    "data_config",
    "imagenet",
    "labels",
    "suggestions",
    "variants",
    "weights.catalog",
    "weights.records",
    "weights.table",
}
WEIGHTS = {
    "weights.files",
    "weights.layouts",
    "weights.readers",
    "weights.values",
}
OURS = {
    "atomic_files": set(),
    "config": set(),
    "variants": {"config", "suggestions"},
    "imagenet": set(),
    "labels": {"imagenet", "weights.records"},
    "suggestions": set(),
    "data_config": {"weights.records"},
    "weights.records": set(),
    "weights.table": {"weights.records"},
    "weights.catalog": {
        "suggestions",
        "variants",
        "weights.records",
        "weights.table",
    },
    "kernels": {TENSOR},
    "weights.qubvel": {"imagenet", "weights.files", "weights.records"},
    "weights.transforms": set(),
    "weights.layouts": {
        "weights.files",
        "weights.qubvel",
        "weights.transforms",
    },
    "weights.files": set(),
    "weights.values": {"weights.files"},
    "weights.hdf5": {"weights.files"},
    "weights.pickles": {"weights.files"},
    "weights.weight_sets": {"weights.files", "weights.pickles"},
    "weights.pytorch": {
        "weights.files",
        "weights.pickles",
        "weights.weight_sets",
    },
    "weights.safetensors_files": {"weights.files"},
    "weights.foreign_files": {"weights.files"},
    "weights.keras_files": {
        "weights.files",
        "weights.hdf5",
        "weights.values",
    },
    "weights.readers": {
        "weights.files",
        "weights.foreign_files",
        "weights.keras_files",
        "weights.pytorch",
        "weights.safetensors_files",
    },
    "layers": {"data_config", "kernels", "layers"},
    "blocks": {TENSOR, "layers", *L0},
    "inputs": {"blocks", "kernels", "layers", *L0},
    "resnext_model": {"inner", "layers", TENSOR, *L0},
    "resnext": {
        "blocks",
        "inputs",
        "kernels",
        "layers",
        "resnext_model",
        *L0,
        *WEIGHTS,
    },
    "contract": {"blocks", "weights.checkpoint", TENSOR, *L0},
    "weights.identify": {"weights.keras_files", *L0, *WEIGHTS},
    "weights.convert": {
        "weights.identify",
        "weights.transforms",
        *L0,
        *WEIGHTS,
    },
    "weights.transfer": {"weights.files"},
    "weights.hub": {"weights.records", "weights.transfer"},
    "weights.fetch": {"weights.hub", "weights.transfer", *L0, *WEIGHTS},
    "weights.addresses": {"weights.fetch", "weights.hub", *L0, *WEIGHTS},
    "weights.keras_models": {
        "weights.fetch",
        "weights.identify",
        "weights.keras_files",
        *WEIGHTS,
    },
    "weights.state_dicts": {
        "inner",
        "layers",
        "weights.convert",
        "weights.identify",
        *L0,
        *WEIGHTS,
    },
    "weights.checkpoint": {
        "weights.addresses",
        "weights.convert",
        "weights.fetch",
        "weights.identify",
        "weights.keras_files",
        "weights.keras_models",
        "weights.state_dicts",
        *L0,
        *WEIGHTS,
    },
    "weights.save_keras": L0,
    "callables": {"contract", "models"},
    "models": {
        "blocks",
        "resnext",
        "weights.checkpoint",
        TENSOR,
        *L0,
    },
    # Any keras.Model will do for these: they never import models.
    "preprocessing": {"resizing", "resnext_model", "tensors", *L0},
    "resizing": set(),
    "tensors": set(),
    "inner": {"layers", TENSOR},
    "complexity": {"inner"},
    "features": {"inner", "suggestions"},
    "finetuning": {
        "blocks",
        "features",
        "inner",
        "layers",
        "resnext_model",
        TENSOR,
        *L0,
    },
    "inference": {
        "blocks",
        "inner",
        "layers",
        "resnext_model",
        TENSOR,
        *L0,
    },
    "exporting": {
        "exporting",
        "inference",
        "inner",
        "kernels",
        "preprocessing",
        "resnext_model",
        TENSOR,
        *L0,
    },
    "exporting.validation": set(),
    "explain": {"features", "inner", "kernels", TENSOR, *L0},
    "training": {"blocks", "kernels", "layers", "training", *L0},
    "paper": {"blocks", "layers", "paper", TENSOR, *L0},
    "paper.claims": {"blocks", "complexity", "models", *L0},
    # Users of the public face, but for what must do without Keras.
    "__main__": {"cli"},
    "cli": {
        "",
        "cli",
        "exporting.formats",
        "weights.addresses",
        "weights.fetch",
        "weights.save_keras",
        *L0,
    },
    "cli.paper": {"", "cli", "paper"},
}
THEIRS = {
    "atomic_files": set(),
    "config": set(),
    "data_config": set(),
    "imagenet": set(),
    "labels": set(),
    "suggestions": set(),
    "variants": set(),
    "weights.records": set(),
    "weights.table": set(),
    "weights.catalog": set(),
    "weights.qubvel": {"numpy"},
    "weights.layouts": set(),
    "weights.transforms": {"numpy"},
    "weights.files": {"numpy"},
    "weights.values": {"numpy"},
    "weights.hdf5": {"ml_dtypes", "numpy"},
    "weights.pickles": {"ml_dtypes", "numpy"},
    "weights.pytorch": {"numpy"},
    "weights.weight_sets": set(),
    "weights.foreign_files": set(),
    "weights.safetensors_files": {"ml_dtypes", "numpy", "safetensors"},
    "weights.readers": {"numpy"},
    "weights.convert": {"numpy"},
    "weights.identify": set(),
    "weights.state_dicts": {"keras", "numpy", "torch"},
    "weights.transfer": {"certifi", "huggingface_hub"},
    "weights.hub": {"huggingface_hub"},
    "weights.fetch": set(),
    "weights.addresses": {"huggingface_hub"},
    "weights.keras_files": {"numpy"},
    "weights.keras_models": {"h5py", "keras"},
    "weights.save_keras": {"keras"},
    "weights.checkpoint": {"keras", "numpy", "safetensors"},
    "kernels": {"keras"},
    "kernels.generic": {"keras", "numpy"},
    "kernels.tensorflow": {"tensorflow"},
    "kernels.jax": {"jax"},
    "kernels.torch": {"torch"},
    "preprocessing": {"keras", "numpy", "PIL"},
    "resizing": {"numpy", "PIL"},
    "tensors": {"keras", "numpy", "PIL"},
    "exporting": {"keras", "numpy", "rich"},
    # It runs in processes that know nothing of Keras.
    "exporting.validation": {"numpy"},
    "explain": {"keras", "numpy", "PIL"},
    "cli": {"keras", "numpy", "PIL", "rich"},
}
BACKENDS = {"tensorflow", "jax", "torch"}
# Imported inside functions only, and a backend by nobody else.
IN_FUNCTIONS = {
    "exporting.onnx": {
        "onnx",
        "onnxruntime",
        "tensorflow",
        "tf2onnx",
        "torch",
    },
    "exporting.openvino": {"openvino"},
    "exporting.saved_model": {"tensorflow"},
    "exporting.tflite": {"ai_edge_litert", "tensorflow"},
    "exporting.torch": {"torch"},
    "training.multi_worker": BACKENDS,
    "training.strategy": BACKENDS,
    "weights.addresses": {"huggingface_hub"},
    "weights.hub": {"huggingface_hub"},
    "weights.state_dicts": {"torch"},
    "weights.transfer": {"certifi", "huggingface_hub"},
}


def module_name(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts).removesuffix("__init__").removesuffix(".")


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def rule(table, module, default=None):
    """A module's line of a table, or that of its folder."""
    return table.get(module, table.get(module.partition(".")[0], default))


def imports(path):
    """Each module imported, and whether that happens inside a function."""
    tree = ast.parse(path.read_text("utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, functions)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            # `from keras_resnext.weights import load` imports weights.load.
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            ours = [name.removeprefix("keras_resnext.") for name in whole]
            names = [
                name if short in MODULES else node.module
                for name, short in zip(whole, ours, strict=True)
            ]
        else:
            continue
        for name in names:
            yield name, id(node) in inside


def table():
    lines = [
        f"{module:18} {', '.join(sorted(names)) or 'nothing of ours'}"
        for module, names in OURS.items()
    ]
    return "Who may import whom:\n" + "\n".join(lines)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_arrows_point_down(module):
    if module in ("", "weights"):
        return  # the public face; an empty file
    allowed = rule(OURS, module)
    assert allowed is not None, f"{module} has no line.\n{table()}"
    found = {
        name.partition(".")[2]
        for name, _ in imports(MODULES[module])
        if name.split(".")[0] == "keras_resnext"
    }
    found = {name for name in found if not {name, name.split(".")[0]} & allowed}
    assert not found, f"{module} imports {', '.join(found)}.\n{table()}"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_others_are_imported_where_they_belong(module):
    allowed = rule(THEIRS, module, {"keras", "numpy"})
    lazily = IN_FUNCTIONS.get(module, set())
    for name, in_function in imports(MODULES[module]):
        top = name.split(".")[0]
        if top == "keras_resnext" or top in sys.stdlib_module_names:
            continue
        if in_function:
            assert top in allowed | lazily, f"{module} imports {name}"
        else:
            assert top in allowed - lazily, f"{module} imports {name}"


def test_the_public_face_does_nothing_else():
    tree = ast.parse(MODULES[""].read_text("utf-8"))
    docstring, *imported, names, version = tree.body
    assert isinstance(docstring, ast.Expr)
    assert isinstance(names, ast.Assign)
    assert isinstance(version, ast.Assign)
    for node in imported:
        assert isinstance(node, ast.ImportFrom)
        assert all(alias.name == alias.asname for alias in node.names)
    listed = {alias.asname for node in imported for alias in node.names}
    assert listed == set(keras_resnext.__all__)


def test_the_public_face_shows_public_names_only():
    modules = {path.stem for path in PACKAGE.glob("*.py")} | {
        path.parent.name for path in PACKAGE.glob("*/__init__.py")
    }
    shown = {name for name in dir(keras_resnext) if not name.startswith("_")}
    assert shown <= {*keras_resnext.__all__, *modules}


TOOLS = sorted(ROOT.glob("weights/*.py"))


@pytest.mark.parametrize("name", ["tensorflow_datasets", "keras_cv"])
def test_data_sets_are_the_examples_business(name):
    # And that of the tool that measures on them; it does without, too.
    lazily = {(ROOT / "weights" / "labelled.py", "tensorflow_datasets")}
    for path in [*PACKAGE.rglob("*.py"), *TOOLS]:
        for imported, in_function in imports(path):
            if imported.split(".")[0] == name:
                assert in_function, path
                assert (path, name) in lazily, path


# Of its own, the package's face names modules only.
PUBLIC = {
    "keras_resnext",
    "keras_resnext.atomic_files",
    "keras_resnext.cli.networks",
    "keras_resnext.exporting",
    "keras_resnext.labels",
    "keras_resnext.training",
    "keras_resnext.training.averaging",
    "keras_resnext.training.optimizers",
    "keras_resnext.training.recipes",
    "keras_resnext.training.schedules",
    "keras_resnext.training.strategy",
    "keras_resnext.weights.save_keras",
}


@pytest.mark.parametrize(
    "path",
    [*TOOLS, *ROOT.glob("examples/**/*.py")],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_scripts_use_public_names_only(path):
    found = {name for name, _ in imports(path) if "keras_resnext" in name}
    assert found <= PUBLIC


def test_five_files_are_the_read_order():
    # From a callable to its last layer. config is the glossary beside them.
    names = ("variants", "models", "resnext", "blocks", "layers.conv")
    lines = {
        name: len(MODULES[name].read_text("utf-8").splitlines())
        for name in names
    }
    assert sum(lines.values()) < 700, lines


IMPORTED = """
import sys
import keras
before = set(sys.modules)
import keras_resnext
print(*sorted({name.split(".")[0] for name in set(sys.modules) - before}))
"""


def test_the_import_is_light():
    run = subprocess.run(
        [sys.executable, "-c", IMPORTED],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": keras.config.backend()},
        capture_output=True,
        check=True,
        text=True,
    )
    heavy = {
        *("huggingface_hub", "keras_cv", "matplotlib", "onnx", "openvino"),
        *("scipy", "sklearn", "tensorboard", "tensorflow_datasets"),
    }
    unwanted = (BACKENDS - {keras.config.backend()}) | heavy
    assert not unwanted & set(run.stdout.split())
