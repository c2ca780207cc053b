"""Whether passes and exact solutions take what `truncated_svd` counts for them."""

import time
from functools import partial
from itertools import product

import numpy as np
import scipy.sparse as sp

from sklearn_rnla.linalg.dense.orth import complete_rows
from sklearn_rnla.linalg.singular.block_krylov import block_krylov
from sklearn_rnla.linalg.singular.filtered_subspace import filtered_subspace
from sklearn_rnla.linalg.singular.gram import gram_svd
from sklearn_rnla.linalg.singular.truncated_svd import gram_cost, pass_cost
from sklearn_rnla.operators import CenteredMatrix, as_row_matrix

from .machine import gemm_peak

# Rows, features, and stored entries of a row.
_SHAPES = ((20_000, 500, 500), (4_000, 2_000, 2_000), (100_000, 2_000, 20))
_SHAPES += ((50_000, 5_000, 50), (20_000, 3_000, 300))
_WIDTHS = (16, 32, 64)
_N_PASSES = 3


def _matrix(m, n, per_row, rng):
    if per_row == n:
        return rng.standard_normal((m, n), np.float32)
    X = sp.random(m, n, per_row / n, format="csr", dtype=np.float32, random_state=0)
    return sp.csr_array(X)


def _seconds(solve):
    solve()
    start = time.process_time()
    solve()
    return time.process_time() - start


def costs(report, quick):
    """Print what is counted over what is measured, in flops at the peak of one thread.

    Run with one BLAS thread. A choice is right where the ratios of a row are alike, at
    whatever value: it compares them.
    """
    shrink = 20 if quick else 1
    peak = gemm_peak(np.float32, 512 if quick else 3072)
    rng, rows = np.random.default_rng(0), []
    for (m, n, per_row), width in product(_SHAPES, _WIDTHS):
        m, n = m // shrink, max(width, n // shrink)
        X = _matrix(m, n, min(n, per_row // shrink if per_row == n else per_row), rng)
        A = CenteredMatrix(as_row_matrix(X))
        A.find_moments()
        start = complete_rows(np.zeros((0, n), A.dtype), width, rng)
        options = {"tol": 0.0, "max_passes": _N_PASSES}
        krylov = _seconds(partial(block_krylov, A, start, width // 2, **options))
        row = {"rows": m, "features": n, "entries": X.size, "width": width}
        row["Krylov pass"] = _N_PASSES * pass_cost(A.rows, width) / (krylov * peak)
        row["filtered pass"] = None
        if A.rows.sparse:
            filtered = partial(filtered_subspace, A, start, width // 2, **options)
            counted = _N_PASSES * pass_cost(A.rows, width, filtered=True)
            row["filtered pass"] = counted / (_seconds(filtered) * peak)
        exact = _seconds(partial(gram_svd, A, width // 2, rng=rng))
        row["exact"] = gram_cost(A.rows, width // 2) / (exact * peak)
        rows.append(row)
    report.note("Counted cost over measured cost")
    report.table(rows)
