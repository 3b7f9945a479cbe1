"""Imports TensorFlow without the lines it prints about itself.

Scripts import this before anything heavy; it has no other use. What the
command line has for this can't serve here: to import a module of the package
is to import Keras, and that TensorFlow.
"""

import contextlib
import importlib.util
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator

BEGAN = time.monotonic()

# For what is logged once TensorFlow runs: warnings go, errors stay.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# TensorFlow 2.21 does not heed that level while its libraries load
# (https://github.com/tensorflow/tensorflow/issues/100442).
_CHATTER = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog|[IW]\d{4} "
)


@contextlib.contextmanager
def chatter_filtered() -> Iterator[None]:
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


if importlib.util.find_spec("tensorflow") is not None:
    with chatter_filtered():
        import tensorflow
    tensorflow.get_logger().setLevel("ERROR")
