"""ResNeXt for Keras 3, on TensorFlow, JAX and torch."""

import importlib
import pathlib
import sys
from typing import Any

__version__ = "0.1.0"

# Whether this is `keras-resnext`, or `python -m keras_resnext`, for which
# Python has no better name yet.
_COMMAND_LINE = pathlib.Path(sys.argv[0]).stem == "keras-resnext" or (
    sys.argv[0] == "-m" and __name__ in sys.orig_argv
)


def __getattr__(name: str) -> Any:
    """Imports all names at once, when the command line first needs one."""
    if not _COMMAND_LINE or (name.startswith("__") and name != "__all__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    public = importlib.import_module("keras_resnext.public")
    return getattr(public, name)


# Others need Keras in any case, and Keras its registered layers.
if not _COMMAND_LINE:
    from keras_resnext.public import *  # noqa: F403
    from keras_resnext.public import __all__ as __all__
