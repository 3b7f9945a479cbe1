"""Cost of an import, and public names.

Who may import whom is in `pyproject.toml`, and import-linter's to hold.
"""

import ast
import importlib.util
import os
import pathlib
import subprocess
import sys

import keras

import keras_resnext

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "keras_resnext"
# Modules to import by name, beside what `keras_resnext` gives away.
FACES = {
    "keras_resnext.cli.scripts",
    "keras_resnext.data",
    "keras_resnext.exporting",
    "keras_resnext.paper",
    "keras_resnext.training.models",
    "keras_resnext.training.trainer",
}


def names_of(module):
    """Return the names that a file defines or gives away, `import X as X`."""
    path = pathlib.Path(importlib.util.find_spec(module).origin)
    nodes = ast.parse(path.read_text("utf-8")).body
    given = {
        alias.asname
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    kinds = (ast.ClassDef, ast.FunctionDef)
    return given | {node.name for node in nodes if isinstance(node, kinds)}


def test_the_public_face_does_nothing_else():
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    docstring, *imported, names, version = tree.body
    assert isinstance(docstring, ast.Expr)
    assert isinstance(names, ast.Assign)
    assert isinstance(version, ast.Assign)
    assert all(isinstance(node, ast.ImportFrom) for node in imported)
    assert names_of("keras_resnext") == set(keras_resnext.__all__)
    modules = {path.stem for path in PACKAGE.iterdir()}
    shown = {name for name in dir(keras_resnext) if not name.startswith("_")}
    assert shown <= {*keras_resnext.__all__, *modules}


def public():
    """Return the dotted names of the faces, and of what they give away."""
    found, modules = set(), {"keras_resnext", *FACES}
    while modules:
        module = modules.pop()
        names = {f"{module}.{name}" for name in names_of(module)}
        stems = {name: ROOT.joinpath(*name.split(".")) for name in names}
        modules |= {
            name
            for name, stem in stems.items()
            if stem.is_dir() or stem.with_suffix(".py").exists()
        } - found
        found |= names | {module}
    return found


def test_scripts_use_public_names_only():
    allowed = public()
    for path in [*ROOT.glob("examples/**/*.py"), *ROOT.glob("weights/*.py")]:
        used = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                used |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                used |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif (
                isinstance(node, ast.Attribute)
                and ast.unparse(node.value) == "keras_resnext"
            ):
                used.add(ast.unparse(node))
        ours = {name for name in used if name.startswith("keras_resnext.")}
        assert ours <= allowed, path


def test_five_files_are_the_read_order():
    # From a callable to its last layer. config is the glossary beside them.
    names = ("variants", "models", "resnext", "blocks", "layers/conv")
    lines = {
        name: len((PACKAGE / f"{name}.py").read_text("utf-8").splitlines())
        for name in names
    }
    assert sum(lines.values()) < 700, lines


IMPORTED = """
import sys
import keras
before = set(sys.modules)
import keras_resnext
print(*(set(sys.modules) - before))
"""


def test_the_import_is_light():
    backend = keras.config.backend()
    run = subprocess.run(
        [sys.executable, "-c", IMPORTED],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        check=True,
        text=True,
    )
    imported = set(run.stdout.split())
    heavy = {
        *{"jax", "tensorflow", "torch"} - {backend},
        *("huggingface_hub", "keras_cv", "matplotlib"),
        *("onnx", "openvino", "scipy", "sklearn", "tensorboard"),
        *("tensorflow_datasets", "keras_resnext.cli", "keras_resnext.data"),
        *("keras_resnext.paper", "keras_resnext.training.trainer"),
    }
    assert not heavy & imported
