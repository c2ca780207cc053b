"""Whatever the data come as; and whatever is wrong with them."""

import dask.array as da
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp

from sklearn_rnla import RandomizedPCA
from tests.invariants import assert_close_to_scale, assert_orthonormal_rows
from tests.matrices import with_spectrum
from tests.sources import Lazy, on_disk

X = with_spectrum(0.7 ** np.arange(20), 400, 20) + 0.1


SOURCES = {
    "list": lambda _: X.tolist(),
    "pandas": lambda _: pd.DataFrame(X),
    "polars": lambda _: pl.DataFrame(X),
    "fortran": lambda _: np.asfortranarray(X),
    "csr": lambda _: sp.csr_array(X),
    "csc": lambda _: sp.csc_matrix(X),
    "coo": lambda _: sp.coo_array(X),
    "memmap": lambda folder: on_disk(X, folder),
    "lazy": lambda _: Lazy(X),
    "dask": lambda _: da.from_array(X, chunks=(90, 7)),
}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("algorithm", ["gram", "krylov"])
def test_every_source_gives_the_same_answer(make, algorithm, tmp_path):
    reference = RandomizedPCA(4, algorithm="gram").fit(X)
    source = make(tmp_path)
    pca = RandomizedPCA(4, algorithm=algorithm, tol=1e-9, random_state=0).fit(source)
    for name in ("components_", "explained_variance_", "mean_", "singular_values_"):
        assert_close_to_scale(getattr(pca, name), getattr(reference, name), float, 1e7)
    assert pca.noise_variance_ == pytest.approx(reference.noise_variance_, rel=1e-6)
    assert_close_to_scale(pca.transform(source), reference.transform(X), float, 1e8)
    assert pca.n_features_in_ == 20


def zarr_array(folder):
    zarr = pytest.importorskip("zarr")
    chunks = {"shape": X.shape, "chunks": (50, 20), "dtype": "f8"}
    out = zarr.open(str(folder / "X.zarr"), mode="w", **chunks)
    out[:] = X
    return out


def h5py_array(folder):
    h5py = pytest.importorskip("h5py")
    return h5py.File(folder / "X.h5", "w").create_dataset("X", data=X)


@pytest.mark.parametrize("make", [zarr_array, h5py_array])
def test_chunked_files_are_read_by_slices(make, tmp_path):
    pca = RandomizedPCA(4, block_size=60).fit(make(tmp_path))
    assert_close_to_scale(pca.components_, RandomizedPCA(4).fit(X).components_, float, 1e4)


@pytest.mark.parametrize("algorithm", ["auto", "gram", "one-view"])
@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_an_iterator_of_ragged_blocks_is_read_once(algorithm, container):
    blocks = (container(b) for b in np.split(X, [1, 3, 200, 201]))
    pca = RandomizedPCA(8, algorithm=algorithm, random_state=0).fit(blocks)
    assert pca.n_passes_ == 1
    assert pca.n_samples_ == 400
    reference = RandomizedPCA(8).fit(X)
    # Of so few features, one view is exact.
    np.testing.assert_allclose(
        pca.singular_values_,
        reference.singular_values_,
        atol=1e-6 * reference.singular_values_[0],
    )
    assert_orthonormal_rows(pca.components_)


def test_dask_results_stay_lazy():
    source = da.from_array(X, chunks=(90, 20))
    pca = RandomizedPCA(4).fit(source)
    Z = pca.transform(source)
    back = pca.inverse_transform(Z)
    assert isinstance(Z, da.Array)
    assert isinstance(back, da.Array)
    assert Z.chunks == ((90, 90, 90, 90, 40), (4,))
    assert_close_to_scale(Z.compute(), pca.transform(X), float)
    assert_close_to_scale(back.compute(), pca.inverse_transform(pca.transform(X)), float)


def test_dask_arrays_of_unknown_chunks_are_measured():
    source = da.from_array(X, chunks=(90, 20))
    source = source[source[:, 0] > -1e9]
    assert np.isnan(source.shape[0])
    pca = RandomizedPCA(4).fit(source)
    assert pca.n_samples_ == 400


def test_names_and_containers_follow_scikit_learn():
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(20)])
    pca = RandomizedPCA(2).set_output(transform="pandas").fit(frame)
    assert pca.feature_names_in_.tolist() == frame.columns.tolist()
    assert pca.transform(frame).columns.tolist() == ["randomizedpca0", "randomizedpca1"]
    assert isinstance(pca.set_output(transform="polars").transform(frame), pl.DataFrame)
    with pytest.raises(ValueError, match="feature names should match"):
        pca.transform(frame.rename(columns={"x0": "y"}))


def broken(value):
    bad = X.copy()
    bad[5, 3] = value
    return bad


W = np.ones(400)


@pytest.mark.parametrize("algorithm", ["auto", "krylov"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, Lazy, da.from_array])
def test_values_that_are_not_finite_are_refused(algorithm, value, make):
    with pytest.raises(ValueError, match=r"NaN|inf"):
        RandomizedPCA(2, algorithm=algorithm).fit(make(broken(value)))


@pytest.mark.parametrize(
    ("params", "args", "message"),
    [
        ({}, ([["a", "b"], ["c", "d"]],), "could not convert string"),
        ({}, (np.zeros((0, 5)),), "0 sample"),
        ({}, (np.zeros((3, 0)),), "0 feature"),
        ({}, (X[0],), "Expected 2D array"),
        ({}, (X[:1],), "1 sample.* minimum of 2"),
        ({}, (da.from_array(X[:1]),), "1 sample.* minimum of 2"),
        (
            {"n_components": 21},
            (X,),
            "n_components=21 must be at most",
        ),
        ({"n_components": -1}, (X,), "'n_components' parameter"),
        ({"n_components": 1.5}, (X,), "'n_components' parameter"),
        ({"n_components": "most"}, (X,), "'n_components' parameter"),
        ({"algorithm": "arpack"}, (X,), "'algorithm' parameter"),
        ({"tol": -1}, (X,), "'tol' parameter"),
        ({"sketch": "fourier"}, (X,), "'sketch' parameter"),
        ({}, (X, None, -W), "Negative values"),
        ({}, (X, None, W[:3]), "sample_weight.shape"),
        ({}, (X, None, 0 * W), "zero"),
        ({}, (X, None, W / 400), "sample_weight sums to"),
        ({}, (iter([X]), None, W), "sample_weight cannot be given with an iterator"),
        ({}, (iter([]),), "0 block"),
        ({}, (iter([X, X[:, :3]]),), "3 features, but the first block has 20"),
        ({}, (iter([X[0]]),), "Expected 2D blocks"),
        ({"algorithm": "krylov"}, (iter([X]),), "can be read once"),
        ({"algorithm": "one-view"}, (X,), "must be an int"),
        ({"n_components": 3}, (iter([X[:2]]),), "n_components=3 must be at most"),
    ],
)
def test_bad_input_is_refused_with_the_reason(params, args, message):
    pca = RandomizedPCA(**params)
    with pytest.raises(ValueError, match=message):
        pca.fit(*args)
    assert not [name for name in vars(pca) if name.endswith("_") and name[0] != "_"]


def test_other_widths_are_refused():
    pca = RandomizedPCA(3).fit(X)
    for call in (pca.transform, pca.partial_fit, pca.score_samples):
        with pytest.raises(ValueError, match="X has 4 features"):
            call(X[:, :4])
    for width in (4, 2):
        with pytest.raises(ValueError, match=f"X has {width} columns"):
            pca.inverse_transform(X[:, :width])
    with pytest.raises(ValueError, match="NaN"):
        pca.transform(broken(np.nan))


ONES = np.ones((30, 6))
DEGENERATE = {
    "zero": (0 * ONES, 0),
    "constant": (ONES, 0),
    "rank one": (np.outer(np.arange(30.0), np.arange(1.0, 7)), 1),
    "duplicates": (np.repeat(X[:3, :6], 10, axis=0), 2),
    "wide": (X[:5], 4),
    "constant columns": (np.hstack([X[:30, :2], ONES[:, :4]]), 2),
}


@pytest.mark.parametrize("name", DEGENERATE)
@pytest.mark.parametrize("algorithm", ["auto", "gram", "krylov", "subspace", "one-view"])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_beyond_the_rank_components_are_orthonormal_and_values_zero(name, algorithm, make):
    data, rank = DEGENERATE[name]
    pca = RandomizedPCA(5, algorithm=algorithm, random_state=0).fit(make(data))
    assert_orthonormal_rows(pca.components_)
    s = pca.singular_values_
    assert np.all(s[rank:] <= 1e-6 * max(s[0], 1))
    exact = np.linalg.svd(data - data.mean(axis=0), compute_uv=False)[:rank]
    np.testing.assert_allclose(s[:rank], exact, rtol=1e-6)
    assert np.isfinite(pca.explained_variance_ratio_).all()
    assert np.isfinite(pca.set_params(whiten=True).fit_transform(make(data))).all()


def test_one_row_without_centring_is_its_own_component():
    pca = RandomizedPCA(1, with_mean=False).fit(X[:1])
    np.testing.assert_allclose(np.abs(pca.components_ @ X[0]), np.linalg.norm(X[0]))


def test_sparse_data_with_empty_rows_and_columns():
    data = sp.csr_array(X * (np.arange(400)[:, None] % 3 > 0) * (np.arange(20) % 4 > 0))
    data.eliminate_zeros()
    ours, dense = (RandomizedPCA(4).fit(d) for d in (data, data.toarray()))
    assert_close_to_scale(ours.components_, dense.components_, float, 1e4)


@pytest.mark.parametrize("algorithm", ["auto", "krylov", "gram"])
@pytest.mark.parametrize(
    ("dtype", "mean", "spread"),
    [(np.float32, 2020, 3), (np.float32, 1e4, 3), (np.float64, 1.7e9, 1e5)],
)
@pytest.mark.parametrize("gaps", [0, 40])
def test_sparse_columns_far_from_zero_do_not_cancel(algorithm, dtype, mean, spread, gaps):
    rng = np.random.default_rng(0)
    Z = sp.random(5000, 30, density=0.2, random_state=0).toarray()
    Z[:, 0] = rng.normal(mean, spread, 5000)
    Z[:gaps, 0] = 0
    Z = Z.astype(dtype)
    B = Z.astype(float) - Z.astype(float).mean(axis=0)
    s = np.linalg.svd(B, compute_uv=False)
    pca = RandomizedPCA(3, algorithm=algorithm, random_state=0)
    pca.fit(sp.csr_array(Z))
    # An iteration stops once the others are nothing beside the first.
    k = 1 if algorithm == "krylov" else 3
    variance, ratio = s[:k] ** 2 / 4999, s[:k] ** 2 / np.sum(s**2)
    np.testing.assert_allclose(pca.explained_variance_[:k], variance, rtol=1e-5)
    np.testing.assert_allclose(pca.explained_variance_ratio_[:k], ratio, rtol=1e-5)
    streamed = RandomizedPCA(3).fit(
        sp.csr_array(Z[a : a + 500]) for a in range(0, 5000, 500)
    )
    np.testing.assert_allclose(streamed.explained_variance_[:1], variance[:1], rtol=1e-5)


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, Lazy])
@pytest.mark.parametrize("bad", [1e8, -999])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_head_of_rows_without_weight_changes_no_variance(make, bad, dtype):
    Z = X.astype(dtype)
    w = np.ones(len(Z))
    w[:16], Z[:16] = 0, bad
    expected = RandomizedPCA(3).fit(Z[16:]).explained_variance_
    found = RandomizedPCA(3).fit(make(Z), sample_weight=w).explained_variance_
    np.testing.assert_allclose(found, expected, rtol=1e-4 if dtype == np.float32 else 1e-9)


def test_masked_entries_are_refused():
    masked = np.ma.masked_array(X, mask=X > 0)
    with pytest.raises(ValueError, match="fill them, or use MatrixCompleter"):
        RandomizedPCA(3).fit(masked)
    whole = RandomizedPCA(3).fit(np.ma.masked_array(X, mask=False))
    np.testing.assert_array_equal(whole.mean_, RandomizedPCA(3).fit(X).mean_)


@pytest.mark.parametrize("make", [on_disk, lambda X, _: Lazy(X), lambda X, _: iter([X])])
def test_complex_numbers_keep_no_real_part_alone(make, tmp_path):
    with pytest.raises(ValueError, match="Complex data not supported"):
        RandomizedPCA(3).fit(make(X * (1 + 1j), tmp_path))
