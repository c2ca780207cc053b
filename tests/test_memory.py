"""Memory of fits, and of what is pickled, beside what the guides state for each."""

import pickle
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_rnla import (
    CURSelector,
    MatrixCompleter,
    MatrixFactorizationRegressor,
    NystroemKernel,
    NystroemRidge,
    NystroemRidgeClassifier,
    NystroemSpectralClustering,
    RandomizedPCA,
    SketchedRidge,
    SketchProjection,
)

RNG = np.random.default_rng(0)
# Blocks, compiled loops, and what else does not depend on sizes.
FIXED = 3e6
SOLVERS = ("gibbs", "als", "softimpute", "exact", "iterative_svd")
RATINGS = sp.random(4000, 400, 0.05, format="csr", random_state=0)
TABLE = RNG.standard_normal((3000, 3)) @ RNG.standard_normal((3, 40))
TABLE[RNG.random(TABLE.shape) < 0.2] = np.nan
N, M = 20_000, 50
X = RNG.standard_normal((N, 20)).astype(np.float32)
LABELS = X[:, 0] > 0


def peak_of(fit):
    """Return the most memory allocated at a time, once loops are compiled, and the fit."""
    fit()
    tracemalloc.start()
    try:
        return fit(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def completer(solver, kind=MatrixCompleter):
    n_iter = 24 if solver == "gibbs" else 5
    return kind(3, solver=solver, max_iter=n_iter, n_jobs=1, random_state=0)


def factors_of(fitted):
    model = fitted._completion.model
    return model.rows.nbytes + model.columns.nbytes


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("solver", SOLVERS)
def test_completion_of_sparse_data_takes_twice_what_is_stated_at_most(solver):
    fitted, peak = peak_of(lambda: completer(solver).fit(RATINGS))
    assert peak <= 2 * (60 * RATINGS.nnz + 10 * factors_of(fitted)) + FIXED
    assert len(pickle.dumps(fitted)) <= 5 * RATINGS.nnz + 2 * factors_of(fitted) + 1e5


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("solver", ["em", *SOLVERS])
def test_completion_of_a_table_takes_twice_what_is_stated_at_most(solver):
    fitted, peak = peak_of(lambda: completer(solver).fit(TABLE))
    known = np.count_nonzero(~np.isnan(TABLE))
    assert peak <= 2 * (75 * known + 10 * factors_of(fitted)) + FIXED
    table = TABLE.nbytes if solver == "em" else 0
    assert len(pickle.dumps(fitted)) <= 5 * known + 2 * factors_of(fitted) + table + 1e5


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("solver", SOLVERS)
def test_factorisation_of_pairs_takes_twice_what_is_stated_at_most(solver):
    rows, columns = RATINGS.nonzero()
    pairs, values = np.column_stack([rows, columns]), RATINGS.data
    model = completer(solver, MatrixFactorizationRegressor)
    fitted, peak = peak_of(lambda: model.fit(pairs, values))
    assert peak <= 2 * (90 * len(values) + 10 * factors_of(fitted)) + FIXED
    assert len(pickle.dumps(fitted)) <= 5 * len(values) + 2 * factors_of(fitted) + 2e5


@pytest.mark.parametrize(
    ("fit", "stated"),
    [
        (lambda: NystroemKernel(n_components=M, random_state=0).fit(X), N * M * 4),
        (lambda: NystroemRidge(n_landmarks=M, random_state=0).fit(X, X[:, 0]), N * M * 4),
        (
            lambda: NystroemRidgeClassifier(n_landmarks=M, random_state=0).fit(X, LABELS),
            N * M * 4,
        ),
        (
            lambda: NystroemSpectralClustering(
                3, n_landmarks=M, gamma=0.02, random_state=0
            ).fit(X),
            N * (M * 4 + 3 * 8),
        ),
        (lambda: RandomizedPCA(3, random_state=0).fit(X), 20 * 20 * 8),
        (lambda: CURSelector(3, random_state=0).fit(X), 8 * 3 * 20 * 8),
        # A block is all of these rows.
        (lambda: SketchedRidge(random_state=0).fit(X, X[:, 0]), N * (20 + 1) * 8),
        (lambda: SketchProjection(3, random_state=0).fit(X), 3 * 20 * 8),
    ],
    ids=lambda value: str(value)[:8] if isinstance(value, int) else "",
)
def test_other_fits_take_twice_what_is_stated_and_keep_no_data(fit, stated):
    fitted, peak = peak_of(fit)
    assert peak <= 2 * stated + FIXED
    # Landmarks, roots and numbers of the columns; of samples, what a clustering shows.
    shown = [getattr(fitted, name, X[:0]).nbytes for name in ("labels_", "embedding_")]
    assert len(pickle.dumps(fitted)) <= sum(shown) + 8 * M * (M + 20) + 4 * M * M + 5e4


def test_what_a_completer_keeps_is_no_array_of_the_user():
    given = RATINGS.copy()
    given.data[::2] = 0
    fitted = completer("als").fit(given)
    before = fitted.recommend([0, 1], 5)[0]
    given.eliminate_zeros()
    np.testing.assert_array_equal(fitted.recommend([0, 1], 5)[0], before)
