"""What is refused, by every estimator and every function, and what the errors say."""

import inspect

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import sklearn_rnla
from sklearn_rnla import (
    CURSelector,
    MatrixCompleter,
    MatrixFactorizationRegressor,
    NystroemGaussianProcessRegressor,
    NystroemKernel,
    NystroemRidge,
    NystroemRidgeClassifier,
    NystroemSpectralClustering,
    RandomizedPCA,
    SketchedRidge,
    SketchProjection,
    linalg,
)
from sklearn_rnla.neural import linear_cka, representation_spectrum
from sklearn_rnla.sketching import Gaussian
from tests.sources import Lazy, WithDiagonal, on_disk

rng = np.random.default_rng(0)
X = rng.standard_normal((100, 6))
Y = X @ rng.standard_normal(6)
CLASSES = Y > 0
SQUARE = X @ X.T

# Everything that takes a table, as a function of the table alone.
ESTIMATORS = {
    "CURSelector": lambda X: CURSelector(2).fit(X),
    "CURSelector supervised": lambda X: CURSelector(2, method="supervised").fit(X, Y),
    "MatrixCompleter": lambda X: MatrixCompleter(1).fit(X),
    "NystroemGaussianProcessRegressor": lambda X: NystroemGaussianProcessRegressor(
        optimizer=None
    ).fit(X, Y),
    "NystroemKernel": lambda X: NystroemKernel(n_components=5).fit(X),
    "NystroemRidge": lambda X: NystroemRidge().fit(X, Y),
    "NystroemRidgeClassifier": lambda X: NystroemRidgeClassifier().fit(X, CLASSES),
    "NystroemSpectralClustering": lambda X: NystroemSpectralClustering(2, gamma=0.1).fit(X),
    "RandomizedPCA": lambda X: RandomizedPCA(2).fit(X),
    "SketchProjection": lambda X: SketchProjection(2).fit(X),
    "SketchedRidge": lambda X: SketchedRidge().fit(X, Y),
}
FUNCTIONS = {
    "column_subset": lambda A: linalg.column_subset(A, 2),
    "cur": lambda A: linalg.cur(A, 2),
    "interpolative": lambda A: linalg.interpolative(A, 2),
    "leverage_scores": linalg.leverage_scores,
    "lstsq": lambda A: linalg.lstsq(A, Y),
    "one_view_svd": lambda A: linalg.one_view_svd(A, 2),
    "projection_error": lambda A: linalg.projection_error(A, np.eye(6)[:2]),
    "randomized_svd": lambda A: linalg.randomized_svd(A, 2),
    "range_finder": lambda A: linalg.range_finder(A, 2),
}
IN_MEMORY = {"orth": linalg.orth}
OF_SQUARE = {
    "diagonal": lambda A: linalg.diagonal(A, 10),
    "log_det": lambda A: linalg.log_det(A, 10),
    "trace": lambda A: linalg.trace(A, 10),
    "nystroem_eigh": lambda A: linalg.nystroem_eigh(A, 2),
    "nystroem_eigh columns": lambda A: linalg.nystroem_eigh(A, 2, method="columns"),
    "randomized_eigh": lambda A: linalg.randomized_eigh(A, 2),
    "ridge_leverage_scores": lambda A: linalg.ridge_leverage_scores(A, 1.0),
    "rpcholesky": lambda A: linalg.rpcholesky(A, 2),
}
TABLES = {
    **ESTIMATORS,
    **FUNCTIONS,
    "linear_cka": lambda X: linear_cka(X, SQUARE),
    "representation_spectrum": representation_spectrum,
}
# Those that take data an iterator of blocks at a time.
READ_ONCE = {
    "RandomizedPCA",
    "one_view_svd",
    "projection_error",
    "linear_cka",
    "representation_spectrum",
}
over_tables = pytest.mark.parametrize("takes", TABLES.values(), ids=TABLES)
over_arrays = pytest.mark.parametrize(
    "takes", [*TABLES.values(), *IN_MEMORY.values()], ids=[*TABLES, *IN_MEMORY]
)
over_square = pytest.mark.parametrize("takes", OF_SQUARE.values(), ids=OF_SQUARE)


class AnnData:
    """A matrix with tables about its rows and columns, which slices to the like."""

    def __init__(self, X):
        self.X, self.obs, self.var, self.shape = X, None, None, X.shape

    def __getitem__(self, rows):
        return AnnData(self.X[rows])


class Records:
    """Rows that know shape and dtype, but whose slices are no array."""

    shape, dtype = X.shape, X.dtype

    def __getitem__(self, rows):
        return {"a": 1}


def test_all_that_is_public_is_here():
    public = {
        name
        for name in sklearn_rnla.__all__
        if hasattr(getattr(sklearn_rnla, name), "get_params")
    }
    assert public == {name.split()[0] for name in ESTIMATORS} | {
        "MatrixFactorizationRegressor"
    }
    functions = {
        name for name in linalg.__all__ if inspect.isfunction(getattr(linalg, name))
    }
    here = {*FUNCTIONS, *IN_MEMORY, *OF_SQUARE}
    assert functions == {name.split()[0] for name in here}


@over_arrays
def test_masked_entries_are_no_data(takes):
    masked = np.ma.masked_array(X, X > 1)
    if takes is TABLES["MatrixCompleter"]:
        return
    for data in (masked, list(masked)):
        with pytest.raises(ValueError, match="masked entries: fill them, or use MatrixC"):
            takes(data)
    takes(np.ma.masked_array(X, np.zeros(X.shape, dtype=bool)))


@over_arrays
def test_missing_entries_are_refused_with_a_remedy(takes, tmp_path):
    if takes is TABLES["MatrixCompleter"]:
        return
    holes = X.copy()
    holes[40, 3] = np.nan
    sources = [holes]
    # A projection is drawn from the shape of lazy data, and never reads them.
    if takes not in (*IN_MEMORY.values(), TABLES["SketchProjection"]):
        sources += [on_disk(holes, tmp_path), Lazy(holes)]
    for data in sources:
        with pytest.raises(ValueError, match=r"NaN(.|\n)*MatrixCompleter"):
            takes(data)


@over_arrays
def test_blocks_in_a_list_are_to_be_an_iterator(takes):
    for blocks in ([X[:50], X[50:90]], (X[:50], X[50:]), [sp.csr_array(X)]):
        with pytest.raises(ValueError, match=r"block\(s\). Pass iter\([XA]\)"):
            takes(blocks)


@over_arrays
def test_text_is_no_table(takes):
    with pytest.raises((TypeError, ValueError), match=r"[XA] is of type str"):
        takes("a table")


@over_arrays
def test_a_container_of_a_matrix_is_named(takes):
    with pytest.raises(TypeError, match=r"[XA] is of type AnnData, .* pass adata\.X"):
        takes(AnnData(X))


@over_tables
def test_slices_that_are_no_array_are_refused(takes):
    if takes is TABLES["MatrixCompleter"]:
        return
    with pytest.raises(TypeError, match=r"of rows of X is of type dict, but must be"):
        takes(Records())


@over_tables
@pytest.mark.parametrize("data", [X[:, 0].copy(), X.reshape(10, 10, 6)], ids=["1-D", "3-D"])
def test_files_of_other_dimensions_are_refused(takes, data, tmp_path):
    with pytest.raises(ValueError, match=rf"{data.ndim}D array|dim {data.ndim}"):
        takes(on_disk(data, tmp_path))


@over_tables
@pytest.mark.parametrize("dtype", ["M8[s]", "U3", "c16"])
def test_files_of_no_real_numbers_are_refused(takes, dtype, tmp_path):
    if takes is TABLES["MatrixCompleter"] and dtype == "M8[s]":
        return
    data = (
        np.ones(X.shape).astype(int).astype(dtype)
        + np.zeros((), "m8[s]") * (dtype == "M8[s]")
        if dtype == "M8[s]"
        else np.full(X.shape, "abc" if dtype == "U3" else 1j, dtype)
    )
    with pytest.raises((ValueError, TypeError), match=r"Numbers are|Complex data|string"):
        takes(on_disk(data, tmp_path))


@pytest.mark.parametrize("name", TABLES)
def test_an_iterator_is_refused_by_what_reads_several_times(name):
    if name in READ_ONCE:
        TABLES[name](iter([X[:50], X[50:]]))
        return
    blocks = iter([X[:50], X[50:]])
    with pytest.raises(ValueError, match=r"can be read only once|is used up by fit"):
        TABLES[name](blocks)


def test_an_iterator_cannot_be_both_fitted_and_transformed():
    blocks = iter([X[:50], X[50:]])
    with pytest.raises(ValueError, match="fit on one iterator and transform another"):
        RandomizedPCA(2).fit_transform(blocks)
    assert len(list(blocks)) == 2


def test_an_iterator_that_was_read_says_so():
    blocks = iter([X[:50], X[50:]])
    model = RandomizedPCA(2).fit(blocks)
    with pytest.raises(ValueError, match="if this one was read before, pass a new one"):
        model.transform(blocks)


@over_square
def test_square_matrices_are_real_and_not_masked(takes):
    hermitian = SQUARE * (1 + 0j)
    for A in (hermitian, sp.csr_array(hermitian), WithDiagonal(hermitian)):
        with pytest.raises(ValueError, match="Complex data not supported"):
            takes(A)
    with pytest.raises(ValueError, match="masked entries"):
        takes(np.ma.masked_array(SQUARE, SQUARE > 1))
    with pytest.raises(TypeError, match=r"pass adata\.X"):
        takes(AnnData(SQUARE))


class Unaware(LinearOperator):
    """A complex operator that says that it is real."""

    def __init__(self):
        super().__init__(np.float64, SQUARE.shape)

    def _matmat(self, V):
        return SQUARE @ V * (1 + 1j)

    def diagonal(self):
        return np.diagonal(SQUARE)


@over_square
def test_products_that_turn_out_complex_are_refused(takes):
    with pytest.raises(ValueError, match="Complex data not supported"):
        takes(Unaware())


def test_operators_without_a_dtype_are_taken():
    operator = aslinearoperator(SQUARE)
    operator.dtype = None
    found = linalg.nystroem_eigh(operator, 2, random_state=0)
    expected = linalg.nystroem_eigh(SQUARE, 2, random_state=0)
    np.testing.assert_allclose(found.eigenvalues, expected.eigenvalues)


@pytest.mark.parametrize(
    "fit",
    [
        lambda y: SketchedRidge().fit(X, y),
        lambda y: NystroemRidge().fit(X, y),
        lambda y: NystroemGaussianProcessRegressor(optimizer=None).fit(X, y),
        lambda y: CURSelector(2, method="supervised").fit(X, y),
        lambda y: NystroemRidgeClassifier().fit(
            X, y > 0 if isinstance(y, np.ndarray) else y
        ),
        lambda y: linalg.lstsq(X, y),
    ],
)
def test_targets_are_dense_and_not_masked(fit):
    with pytest.raises((ValueError, TypeError), match=r"sparse"):
        fit(sp.csr_array(Y[:, np.newaxis]))
    with pytest.raises(TypeError, match=r"[yb] of type Lazy must be in memory"):
        fit(Lazy(Y[:, np.newaxis]))
    with pytest.raises(
        ValueError, match=r"[yb] is a masked array .* leave out the samples"
    ):
        fit(np.ma.masked_array(Y, Y > 1))


def test_weights_and_pairs_are_not_masked():
    weight = np.ma.masked_array(np.ones(len(X)), X[:, 0] > 1)
    with pytest.raises(ValueError, match="sample_weight is a masked array"):
        RandomizedPCA(2).fit(X, sample_weight=weight)
    pairs = np.ma.masked_array([[0, 0], [0, 1], [1, 0]], [[1, 0], [0, 0], [0, 0]])
    with pytest.raises(ValueError, match="X is a masked array"):
        MatrixFactorizationRegressor(1).fit(pairs, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="rows is a masked array"):
        MatrixCompleter(1).fit(X).predict_entries(pairs[:, 0], pairs[:, 1])


@pytest.mark.parametrize("bad", [1j, np.ma.masked])
def test_sketches_do_not_look_behind_a_mask_or_drop_an_imaginary_part(bad):
    A = np.ma.masked_array(X.astype(complex if bad == 1j else float))
    A[3, 2] = bad
    for product in (
        lambda: Gaussian(4, 100).sample(0) @ A,
        lambda: A.T @ Gaussian(4, 100).sample(0).T,
    ):
        with pytest.raises(ValueError, match=r"Complex data|masked entries"):
            product()


LARGE = np.random.default_rng(1).standard_normal((2**17 + 1, 9))
AFTER_FIT = {
    "RandomizedPCA": (RandomizedPCA(2), "transform"),
    "RandomizedPCA score": (RandomizedPCA(2), "score_samples"),
    "SketchProjection": (SketchProjection(3), "transform"),
    "NystroemKernel": (NystroemKernel(n_components=5), "transform"),
    "CURSelector": (CURSelector(2), "transform"),
    "SketchedRidge": (SketchedRidge(), "predict"),
    "NystroemRidge": (NystroemRidge(n_landmarks=5), "predict"),
    "NystroemSpectralClustering": (NystroemSpectralClustering(2, gamma=0.01), "predict"),
    "NystroemGaussianProcessRegressor": (
        NystroemGaussianProcessRegressor(n_landmarks=5, optimizer=None),
        "predict",
    ),
}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", AFTER_FIT)
def test_missing_entries_are_refused_after_fit_in_large_data_too(name, bad, tmp_path):
    estimator, method = AFTER_FIT[name]
    fitted = estimator.set_params(random_state=0).fit(LARGE[:300], LARGE[:300, 0])
    Z = LARGE.copy()
    Z[-5, 3] = bad
    sources = [Z, on_disk(Z, tmp_path), Lazy(Z), da.from_array(Z, chunks=(2**16, 9))]
    if name not in ("NystroemGaussianProcessRegressor", "NystroemSpectralClustering"):
        sources.append(sp.csr_array(Z))
    for data in sources:
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            np.asarray(getattr(fitted, method)(data))


def test_dask_chunks_in_coordinate_form_are_rows_as_others():
    parts = [
        da.from_delayed(dask.delayed(sp.coo_array)(X[i : i + 25]), (25, 6), dtype=float)
        for i in range(0, 100, 25)
    ]
    found = linalg.randomized_svd(da.concatenate(parts), 3, random_state=0)
    expected = np.linalg.svd(X, compute_uv=False)[:3]
    np.testing.assert_allclose(found.singular_values, expected, rtol=1e-3)


def test_too_many_components_of_a_projection_say_what_to_pass():
    with pytest.raises(
        ValueError, match=r"n_features=6: pass n_components, or another eps"
    ):
        SketchProjection().fit(X)


def test_coordinates_are_checked_before_they_are_mapped_back(tmp_path):
    model = RandomizedPCA(2).fit(X)
    for bad in (X[:, 0].copy(), X.reshape(50, 2, 6)):
        with pytest.raises(ValueError, match=rf"{bad.ndim}D array|dim {bad.ndim}"):
            model.inverse_transform(on_disk(bad, tmp_path))
    with pytest.raises(ValueError, match="masked entries"):
        model.inverse_transform(np.ma.masked_array(X[:, :2], X[:, :2] > 1))
    for data in (X, on_disk(X, tmp_path), iter([X])):
        with pytest.raises(ValueError, match="X has 6 columns, but n_components_=2"):
            model.inverse_transform(data)


@pytest.mark.parametrize(
    "missing", [None, float("nan"), pd.NA, 1], ids=["None", "NaN", "NA", "int"]
)
def test_classes_are_of_one_type_and_not_missing(missing):
    labels = np.array(["a", missing] * 50, dtype=object)
    for fit in (
        lambda y: NystroemRidgeClassifier().fit(X, y),
        lambda y: CURSelector(2, method="supervised").fit(X, y),
    ):
        with pytest.raises(ValueError, match=r"y has labels of type \w+ and \w+, which"):
            fit(labels)
        with pytest.raises(ValueError, match="y has NaT"):
            fit(np.array(["2020-01-01", "NaT"] * 50, dtype="M8[D]"))


@over_square
def test_square_matrices_are_no_iterators(takes):
    with pytest.raises(ValueError, match="A is an iterator of blocks, which can be read"):
        takes(iter([SQUARE[:50], SQUARE[50:]]))


@pytest.mark.parametrize(
    "function",
    [
        lambda n_jobs: linalg.nystroem_eigh(SQUARE, 2, n_jobs=n_jobs),
        lambda n_jobs: linalg.projection_error(X, np.eye(6)[:2], n_jobs=n_jobs),
        lambda n_jobs: RandomizedPCA(2, n_jobs=n_jobs).fit(X),
        lambda n_jobs: NystroemKernel(n_jobs=n_jobs).fit(X),
    ],
)
def test_no_threads_and_no_number_of_threads_are_refused(function):
    for n_jobs in (0, "two", 1.5):
        with pytest.raises(ValueError, match=r"n_jobs"):
            function(n_jobs)


@pytest.mark.parametrize("shape", [(30, 400), (20, 3000)])
def test_missing_entries_of_wide_files_are_named_by_every_function(shape, tmp_path):
    wide = np.random.default_rng(0).standard_normal(shape)
    wide[3, 5] = np.nan
    file = on_disk(wide, tmp_path)
    for function in (
        lambda: linalg.randomized_svd(file, 3),
        lambda: linalg.randomized_svd(file, 3, algorithm="gram"),
        lambda: linalg.lstsq(file, np.ones(len(file))),
        lambda: linalg.range_finder(file, 3),
    ):
        with pytest.raises(ValueError, match=r"NaN, infinity(.|\n)*MatrixCompleter"):
            function()


@pytest.mark.parametrize("container", [Lazy, lambda A: iter([A]), da.from_array])
def test_lazy_data_have_a_column(container):
    for takes in (RandomizedPCA().fit, lambda A: linalg.one_view_svd(A, 1)):
        with pytest.raises(ValueError, match=r"0 feature\(s\)"):
            takes(container(np.empty((5, 0))))


def test_vectors_to_project_on_are_checked():
    for V in (np.ones((2, 6)) * 1j, [[np.nan] * 6], [X, X]):
        with pytest.raises(ValueError, match=r"V contains NaN|Complex|dim|block\(s\)"):
            linalg.projection_error(X, V)
    for takes in (linalg.orth, lambda V: linalg.projection_error(X, V)):
        with pytest.raises(ValueError, match="is an iterator of blocks"):
            takes(iter([X]))


@pytest.mark.parametrize("integer", [np.uint8, np.int8, np.int64])
def test_sizes_are_integers_of_any_type(integer):
    expected = np.linalg.svd(X, compute_uv=False)[:2]
    for params in ({"block_size": integer(3)}, {"n_oversamples": integer(1)}):
        found = linalg.randomized_svd(X, integer(2), **params, tol=1e-9, random_state=0)
        np.testing.assert_allclose(found.singular_values, expected)
    clusters = NystroemSpectralClustering(integer(2), gamma=0.1, random_state=0)
    assert set(clusters.fit_predict(X)) == {0, 1}


def test_a_dimension_beyond_all_integers_is_refused():
    for eps in (1e-12, 1e-300):
        with pytest.raises(ValueError, match=r"pass n_components"):
            SketchProjection(eps=eps).fit(X)


def test_lazy_matrices_are_refused_where_they_must_be_in_memory():
    for takes in [*IN_MEMORY.values(), *OF_SQUARE.values()]:
        with pytest.raises(TypeError, match=r"A of type Lazy must be in memory: pass A\["):
            takes(Lazy(SQUARE))


def test_a_lazy_selection_of_no_row_is_refused():
    A = da.from_array(X, chunks=(25, 6))
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        linalg.projection_error(A[A[:, 0] > 100], np.eye(6)[:2])
