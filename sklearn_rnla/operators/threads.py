"""Threads over pieces of work, and how it is cut: into blocks, lanes and tiles."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from itertools import pairwise
from multiprocessing import current_process
from threading import Lock

# A pass is summed in this many lanes at most, whatever the number of threads, so that
# the order of summation depends on the partition alone.
MAX_LANES = 32

# Bytes of a tile of kernel values: it stays in cache between the product that makes it,
# the function applied to it, and the product that consumes it.
TILE_BYTES = 2 * 2**20


def split(n_rows: int, block_rows: int) -> list[slice]:
    """Cut ``range(n_rows)`` into slices of at most `block_rows`, as even as can be."""
    n_blocks = max(1, -(-n_rows // block_rows))
    edges = [n_rows * i // n_blocks for i in range(n_blocks + 1)]
    return [slice(a, b) for a, b in pairwise(edges)]


def tile_rows(n_columns, itemsize):
    """Return the rows of a tile of about `TILE_BYTES`."""
    return max(64, TILE_BYTES // max(1, n_columns * itemsize))


def consecutive(n_rows, size):
    """Yield slices of `size` consecutive rows; the last may be shorter."""
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


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
    return max(_n_threads(None), _limit.n_threads)


def _n_threads(n_jobs):
    """Return the number of threads that joblib gives to `n_jobs`."""
    if current_process().daemon:
        # A worker of a pool, beside which others run; joblib would warn of it.
        return 1
    from joblib import effective_n_jobs

    return effective_n_jobs(n_jobs)


def one_blas_thread(n_jobs):
    """Return a context in which BLAS has one thread, where `n_jobs` threads take turns.

    After a product in several threads those of BLAS spin for some 30 ms, on cores that
    the threads over tiles are about to use.
    """
    return nullcontext() if n_jobs == 1 else _limit.hold()


class _Limit:
    """One thread of BLAS in this process, for as long as anybody needs that.

    The number of threads belongs to the process. A fit that begins while another has the
    limit finds one thread, and one that ends must not lift it: the last to end puts back
    what the first has found.
    """

    def __init__(self):
        self._lock = Lock()
        self._n_holders = 0
        self._before = []

    @property
    def n_threads(self):
        """Threads of BLAS where there is no limit."""
        with self._lock:
            return max([1, *(self._before if self._n_holders else _blas_threads())])

    @contextmanager
    def hold(self):
        """Limit BLAS to one thread."""
        with self._lock:
            own = _blas_threads()
            if not self._n_holders:
                self._before = own
            self._n_holders += 1
            _set_blas_threads([1] * len(own))
        try:
            yield
        finally:
            with self._lock:
                self._n_holders -= 1
                shared = [1] * len(own) if self._n_holders else self._before
                _set_blas_threads(
                    mine if _is_per_thread(pool) else all_of_us
                    for pool, mine, all_of_us in zip(
                        _blas_pools(), own, shared, strict=True
                    )
                )


_limit = _Limit()


def _blas_pools():
    return _threadpool_controller().select(user_api="blas").lib_controllers


def _blas_threads():
    return [pool.num_threads for pool in _blas_pools()]


def _is_per_thread(pool):
    """Whether each thread has a number of its own, as those of OpenMP do."""
    return getattr(pool, "threading_layer", None) == "openmp"


def _set_blas_threads(numbers):
    for pool, n_threads in zip(_blas_pools(), numbers, strict=True):
        pool.set_num_threads(n_threads)
        # Since threadpoolctl 3.8 the first thread that sets the number is the only one that
        # can: what others ask for does nothing, until the first has given that up.
        if hasattr(pool, "clear_controlling_thread"):
            pool.clear_controlling_thread()


def run_lanes(run, lanes, n_jobs):
    """Yield ``run(lane)`` for each lane in order, in up to `n_jobs` threads.

    joblib says how many, so that `joblib.parallel_config` is obeyed; its own threads take
    some 13 ms to start, which is more than many a pass. While several run, each has one
    BLAS thread.
    """
    if len(lanes) > 1 and n_jobs != 1:
        n_threads = min(_n_threads(n_jobs), len(lanes))
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
