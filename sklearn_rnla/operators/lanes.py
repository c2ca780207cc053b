"""Threads over pieces of work, and how the work is cut into pieces."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import lru_cache
from itertools import pairwise

# A pass is summed in this many lanes at most, whatever the number of threads, so that
# the order of summation depends on the partition alone.
MAX_LANES = 32


def split(n_rows: int, block_rows: int) -> list[slice]:
    """Cut ``range(n_rows)`` into slices of at most `block_rows`, as even as can be."""
    n_blocks = max(1, -(-n_rows // block_rows))
    edges = [n_rows * i // n_blocks for i in range(n_blocks + 1)]
    return [slice(a, b) for a, b in pairwise(edges)]


@lru_cache(maxsize=1)
def _threadpool_controller():
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def check_jobs(n_jobs):
    """Return `n_jobs`, or raise ValueError where it is zero, which has no meaning."""
    if n_jobs == 0:
        raise ValueError(
            "n_jobs=0 has no meaning: it must be None, a number of threads, or -1 for one "
            "on each core."
        )
    return n_jobs


def kernel_jobs(n_jobs):
    """Return the threads over tiles of a kernel: as many as BLAS has, unless told.

    A tile is a product and a function of it. BLAS would run the product in its threads and
    leave the function to one.
    """
    if check_jobs(n_jobs) is not None:
        return n_jobs
    from joblib import effective_n_jobs

    pools = _threadpool_controller().select(user_api="blas").lib_controllers
    return max([effective_n_jobs(None), *(pool.num_threads for pool in pools)])


def one_blas_thread(n_jobs):
    """Return a context in which BLAS has one thread, where `n_jobs` threads take turns.

    After a product in several threads those of BLAS spin for some 30 ms, on cores that
    the threads over tiles are about to use.
    """
    if n_jobs == 1:
        return nullcontext()
    return _threadpool_controller().limit(limits=1, user_api="blas")


def run_lanes(run, lanes, n_jobs):
    """Yield ``run(lane)`` for each lane in order, in up to `n_jobs` threads.

    joblib says how many, so that `joblib.parallel_config` is obeyed; its own threads take
    some 13 ms to start, which is more than many a pass. While several run, each has one
    BLAS thread.
    """
    if len(lanes) > 1 and n_jobs != 1:
        from joblib import effective_n_jobs

        n_threads = min(effective_n_jobs(n_jobs), len(lanes))
        if n_threads > 1:
            yield from _run_in_threads(run, lanes, n_threads)
            return
    for lane in lanes:
        yield run(lane)


def _run_in_threads(run, lanes, n_threads):
    with (
        one_blas_thread(n_threads),
        ThreadPoolExecutor(n_threads) as executor,
    ):
        # Two waiting for each thread: states of later lanes do not pile up.
        waiting = deque(executor.submit(run, lane) for lane in lanes[: 2 * n_threads])
        try:
            for lane in lanes[2 * n_threads :]:
                yield waiting.popleft().result()
                waiting.append(executor.submit(run, lane))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
