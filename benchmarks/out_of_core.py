"""A file larger than one would read: through passes, batches, and dask."""

import tempfile
import warnings
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from sklearn.decomposition import IncrementalPCA

from sklearn_rnla import RandomizedPCA

from . import accuracy
from .harness import compare, installed, race, rounds
from .matrices import file_of_rows
from .peers import OURS, Fit, best_at_equal_accuracy, columns_of, fitted, on, streamed

N_CHUNKS = 20


@contextmanager
def rows_on_disk(report, quick):
    """Write the file, give its path, memmap and k; delete it in the end."""
    m, n, k = (20_000, 50, 5) if quick else (1_000_000, 500, 50)
    with tempfile.TemporaryDirectory(prefix="sklearn-rnla-") as folder:
        path = Path(folder) / "rows.f32"
        X = file_of_rows(path, m, n)
        report.note(f"{m} x {n} float32, {X.nbytes / 1e9:.2g} GB, k={k}")
        yield path, X, k


def memmap(report, quick):
    """Compare on the file read in place."""
    with rows_on_disk(report, quick) as (_, X, k):
        ours = partial(RandomizedPCA, k, random_state=0)
        batch = 5 * X.shape[1]  # the default of IncrementalPCA
        methods = {
            OURS: fitted(ours()),
            f"{OURS}, n_jobs=2": fitted(ours(n_jobs=2)),
            f"{OURS} partial_fit": streamed(ours, batch),
            "IncrementalPCA partial_fit": streamed(lambda: IncrementalPCA(k), batch),
            "IncrementalPCA fit": fitted(IncrementalPCA(k)),
        }
        runs = race(on(methods, X), rounds=rounds(quick), patience=20.0)
        rows = compare(runs, OURS, columns_of(accuracy.of_rows(X, k)))
        for row, run in zip(rows, runs.values(), strict=True):
            row["peak / file"] = None if run.peak is None else f"{run.peak / X.nbytes:.1%}"
        report.table(rows)
        report.note(best_at_equal_accuracy(rows))


def distributed(report, quick):
    """Compare a dask array of the file on two worker processes with the memmap here."""
    if installed("dask.array") is None or installed("distributed") is None:
        report.note("dask.distributed: not installed")
        return
    from distributed import Client, LocalCluster

    with rows_on_disk(report, quick) as (path, X, k), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # A busy port, slow heartbeats.
        with (
            LocalCluster(
                n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
            ) as cluster,
            Client(cluster),
        ):
            lazy = as_dask(path, X.shape)
            here = f"{OURS}, memmap in process"
            methods = on({here: fitted(RandomizedPCA(k, random_state=0))}, X) | on(
                {
                    f"{OURS}, dask": fitted(RandomizedPCA(k, random_state=0)),
                    "dask svd_compressed, n_power_iter=0": compressed(k, 0),
                    "dask svd_compressed, n_power_iter=2": compressed(k, 2),
                },
                lazy,
            )
            runs = race(methods, rounds=rounds(quick), patience=30.0)
        report.table(compare(runs, here, columns_of(accuracy.of_rows(X, k))))
        report.note("peak MB is that of the client: the data stay with the workers")


def as_dask(path, shape):
    """Return the file as a dask array; workers map it themselves."""
    import dask
    import dask.array as da

    read = dask.delayed(_read)
    edges = np.linspace(0, shape[0], N_CHUNKS + 1).astype(int)
    return da.concatenate(
        [
            da.from_delayed(
                read(str(path), shape, start, stop), (stop - start, shape[1]), np.float32
            )
            for start, stop in pairwise(edges)
        ]
    )


def _read(path, shape, start, stop):
    return np.asarray(np.memmap(path, np.float32, "r", shape=shape)[start:stop])


def compressed(k, n_power_iter):
    """Return dask's own randomized SVD, of the centred array."""

    def fit(X):
        import dask.array as da

        V = da.linalg.svd_compressed(
            X - X.mean(axis=0), k, n_power_iter=n_power_iter, seed=0
        )[2]
        return Fit(V.compute())

    return fit
