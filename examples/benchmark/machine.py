"""Name and versions of the machine that is measured."""

import contextlib
import importlib.metadata
import os
import pathlib
import platform
import re
import subprocess

PACKAGES = (
    *("keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "timm"),
    *("onnxruntime", "openvino"),
)
# Of the processor's flags, those that decide the speed of convolutions.
UNITS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "VNNI",
    "avx512_bf16": "BF16",
    "amx_tile": "AMX",
}


def processors() -> set[int]:
    """Return the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def hardware(device: str) -> str:
    """Return the name of the processor, or of the GPU."""
    if device == "gpu":
        try:
            done = subprocess.run(
                ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
                capture_output=True,
                text=True,
                check=True,
            )
        except (OSError, subprocess.CalledProcessError):
            raise ValueError("There is no NVIDIA GPU here.") from None
        return done.stdout.splitlines()[0].strip()
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    values = dict(
        re.split(r"\s*:\s*", line, maxsplit=1) for line in lines if ":" in line
    )
    units = [
        unit
        for flag, unit in UNITS.items()
        if flag in values.get("flags", "").split()
    ]
    name = values.get("model name", platform.machine())
    return f"{name} ({', '.join(units)})" if units else name


def versions() -> dict[str, str]:
    """Return the versions of all packages involved."""
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
