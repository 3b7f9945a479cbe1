"""Imports a framework without the lines that it prints about itself."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

# TensorFlow 2.21 does not heed its level of logging while its libraries load
# (https://github.com/tensorflow/tensorflow/issues/100442).
_CHATTER = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog|[IW]\d{4} "
)


def load() -> None:
    """Imports Keras and its backend."""
    # For what is logged once TensorFlow runs: warnings go, errors stay.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _chatter_filtered():
        import keras_resnext.public  # noqa: F401  (importing it is its use)


@contextlib.contextmanager
def _chatter_filtered() -> Iterator[None]:
    """Holds back the standard error of C++; what is no chatter comes later."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as caught:
        stderr = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            caught.seek(0)
            for line in caught:
                if not _CHATTER.match(line):
                    os.write(2, line)
