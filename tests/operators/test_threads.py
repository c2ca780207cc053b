"""Threads over lanes, and the threads of BLAS meanwhile."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from threadpoolctl import ThreadpoolController

from sklearn_rnla.operators.threads import kernel_jobs, one_blas_thread, run_lanes

BLAS = ThreadpoolController().select(user_api="blas")


def threads():
    return [pool.num_threads for pool in BLAS.lib_controllers]


@pytest.mark.parametrize("first_ends", [True, False])
def test_overlapping_fits_have_one_thread_of_blas_until_the_last_ends(first_ends):
    before = threads()
    both_began, one_ended = Barrier(2, timeout=20), Barrier(2, timeout=20)

    def fit(number):
        with one_blas_thread(2):
            both_began.wait()
            assert kernel_jobs(None) == max(before)
            seen = [threads()]
            if first_ends == bool(number):
                one_ended.wait()
                # The other has ended, in a thread that is still alive, or not.
                seen += [threads(), *run_lanes(lambda lane: threads(), [1, 2, 3], 2)]
        if first_ends != bool(number):
            one_ended.wait()
        return seen

    for _ in range(3):
        with ThreadPoolExecutor(2) as executor:
            seen = [one for many in executor.map(fit, range(2)) for one in many]
            assert threads() == before
        assert {n for one in seen for n in one} == {1}
        with one_blas_thread(2):
            assert set(threads()) == {1}
        assert threads() == before


def test_a_fit_in_another_thread_finds_the_limit_of_the_user():
    before = threads()
    with BLAS.limit(limits=1), ThreadPoolExecutor(1) as executor:
        assert executor.submit(work, 2).result() == ([3, 2, 1], True)
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
