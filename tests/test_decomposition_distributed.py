"""On a real cluster: two worker processes, one of which dies."""

import os
import signal
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster

from sklearn_rnla import RandomizedPCA
from tests.invariants import assert_close_to_scale
from tests.matrices import with_spectrum

pytestmark = pytest.mark.filterwarnings("ignore")

X = with_spectrum(np.arange(1.0, 101) ** -0.5, 4000, 100)


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


def fit(data):
    pca = RandomizedPCA(5, algorithm="krylov", tol=1e-6, random_state=0)
    return pca.fit(data)


def same_chunks():
    return da.from_array(X, chunks=(400, 100))


def kill_once(block, flag):
    """Kill the worker that is the first to create `flag`, after some blocks."""
    if Path(f"{flag}.armed").exists():
        try:
            os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return block
        os.kill(os.getpid(), signal.SIGKILL)
    return block


def test_a_cluster_gives_the_answer_of_one_process(client):
    with_cluster, alone = fit(same_chunks()), fit(X)
    assert_close_to_scale(with_cluster.components_, alone.components_, float, 1e4)
    assert_close_to_scale(with_cluster.mean_, alone.mean_, float)
    assert with_cluster.n_passes_ == alone.n_passes_


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_worker_killed_in_mid_fit_changes_nothing(client, tmp_path, monkeypatch):
    import sklearn_rnla.linalg.singular.block_krylov as krylov

    flag = str(tmp_path / "killed")
    data = same_chunks().map_blocks(kill_once, flag, dtype=float)
    original = krylov.RitzBasis.add

    def arm_then_add(self, *args):
        # After the first pass the next block read kills its worker.
        Path(f"{flag}.armed").touch()
        return original(self, *args)

    monkeypatch.setattr(krylov.RitzBasis, "add", arm_then_add)
    with_cluster = fit(data)
    assert Path(flag).exists()
    alone = fit(X)
    assert_close_to_scale(with_cluster.components_, alone.components_, float, 1e4)


def test_only_small_states_come_back_to_the_client(client, monkeypatch):
    sizes = []
    original = Client.gather

    def gather(self, *args, **kwargs):
        result = original(self, *args, **kwargs)

        def measure(value):
            if isinstance(value, np.ndarray):
                sizes.append(value.nbytes)
            elif isinstance(value, list | tuple):
                for part in value:
                    measure(part)

        if not kwargs.get("asynchronous"):
            measure(result)
        return result

    monkeypatch.setattr(Client, "gather", gather)
    data = da.random.default_rng(0).standard_normal((40_000, 100), chunks=(4000, 100))
    RandomizedPCA(5, algorithm="krylov", tol=0.1, random_state=0).fit(data)
    assert sizes
    # A state is 100 features times 16 vectors, and 64 rows are looked at. The data are
    # 32 MB.
    assert max(sizes) <= 100 * 64 * 8
    assert sum(sizes) <= 1e6
