"""What the numbers were taken on."""

import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

PACKAGES = ("numpy", "scipy", "scikit-learn", "fbpca", "torch", "dask")


def describe_machine():
    """Return one line on the processor, the versions and BLAS."""
    cores = f"{platform.processor() or platform.machine()}"
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if "model name" in line]
        if names:
            cores = f"{len(names)} x {names[0].partition(': ')[2]}"
    blas = {
        f"{pool['internal_api']} {pool['version']} ({pool.get('architecture', '?')}, "
        f"{pool['num_threads']} threads)"
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    }
    return (
        f"{cores}; Python {platform.python_version()}, "
        f"{', '.join(f'{name} {_version(name)}' for name in PACKAGES)}; "
        f"BLAS: {', '.join(sorted(blas)) or 'unknown'}"
    )


def _version(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def gemm_peak(dtype, size=3072, repeats=5):
    """Return the flops per second of a square matrix product, the best of `repeats`."""
    A = np.random.default_rng(0).random((size, size)).astype(dtype)
    out = np.empty_like(A)
    best = np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        np.matmul(A, A, out=out)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
