"""Threads over lanes, and the threads of BLAS meanwhile."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from threadpoolctl import ThreadpoolController

from sklearn_rnla.operators.lanes import kernel_jobs, one_blas_thread, run_lanes

BLAS = ThreadpoolController().select(user_api="blas")


def threads():
    return [pool.num_threads for pool in BLAS.lib_controllers]


@pytest.mark.parametrize("first_ends", [True, False])
def test_overlapping_fits_put_the_threads_of_blas_back(first_ends):
    before = threads()
    in_turn = Barrier(2, timeout=20)

    def fit(number):
        if number:
            in_turn.wait()
        with one_blas_thread(2):
            if not number:
                in_turn.wait()
            in_turn.wait()
            assert kernel_jobs(None) == max(before)
            if first_ends == bool(number):
                in_turn.wait()
        if first_ends != bool(number):
            in_turn.wait()

    for _ in range(3):
        with ThreadPoolExecutor(2) as executor:
            assert list(executor.map(fit, range(2))) == [None, None]
            assert threads() == before
        with one_blas_thread(2):
            assert set(threads()) == {1}
        assert threads() == before


def test_an_error_puts_the_threads_of_blas_back():
    before = threads()
    with pytest.raises(KeyError), one_blas_thread(2):
        raise KeyError
    assert threads() == before


def work(n_jobs):
    return list(run_lanes(abs, range(-3, 0), n_jobs)), kernel_jobs(None) >= 1


def test_workers_of_a_pool_run_lanes_without_a_warning():
    # Warnings are errors here, and a worker would pass them on.
    with multiprocessing.get_context("spawn").Pool(1, _raise_warnings) as pool:
        assert pool.apply(work, (2,)) == ([3, 2, 1], True)


def _raise_warnings():
    import warnings

    warnings.simplefilter("error")
