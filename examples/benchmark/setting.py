"""Settings of a benchmark, and the start of its processes."""

import json
import os
import sys
from dataclasses import asdict
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """Settings that all candidates share.

    Args:
        model: Name of the variant.
        size: Height and width of the images.
        threads: Number of threads that compute.
        device: `"cpu"` or `"gpu"`.
        files: Folder of the files of `artifacts`.
    """

    model: str
    size: int
    threads: int
    device: str
    files: str

    def command(self, option: str, **values: Any) -> list[str]:
        """Return the command line of a process with this setting.

        Args:
            option: `"--worker"` or `"--maker"`.
            **values: Values for the process in addition to the setting.
        """
        content = json.dumps(values | asdict(self))
        module = "examples.benchmark.models"
        return [sys.executable, "-m", module, option, content]

    def environment(self, backend: str) -> dict[str, str]:
        """Return the environment of a process with one backend of Keras."""
        return {
            **os.environ,
            "KERAS_BACKEND": backend,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "OMP_NUM_THREADS": str(self.threads),
            # Otherwise the peak would be all of the GPU's memory.
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        }
