import numpy as np
import pytest
from scipy.stats import binom

from sklearn_rnla.linalg.completion.gibbs import gibbs
from sklearn_rnla.linalg.completion.model import fold_in, predict_entries
from sklearn_rnla.operators.observed import Observed


def known_model(seed, shape=(300, 200), rank=2, share=0.2, noise=0.3, dtype=float):
    """Entries of biases and factors of unit variance, with noise; and all without."""
    rng = np.random.default_rng(seed)
    U, V = (rng.standard_normal((n, rank)) for n in shape)
    truth = 3 + U @ V.T / np.sqrt(rank)
    truth += rng.standard_normal((shape[0], 1)) + rng.standard_normal(shape[1])
    X = truth + noise * rng.standard_normal(shape)
    hide = rng.random(shape) > share
    seen = np.where(hide, np.nan, X).astype(dtype)
    return Observed.from_dense(seen), truth, X, hide


@pytest.fixture(scope="module")
def sampled():
    observed, truth, X, hide = known_model(0)
    result = gibbs(observed, 2, rng=np.random.default_rng(0))
    return observed, truth, X, hide, result


def test_entries_not_seen_are_predicted_nearly_as_well_as_noise_allows(sampled):
    _, truth, _, hide, result = sampled
    filled = result.model.entries_of(result.model.rows)
    # Each row has 40 entries, each column 60, for three numbers: a tenth of the noise
    # variance, and 3 / 60 of it, are what least squares would add.
    error = np.sqrt(np.mean((filled - truth)[hide] ** 2))
    assert error < 0.3 * np.sqrt(2 * (3 / 40 + 3 / 60))


def test_intervals_cover_as_often_as_they_say(sampled):
    _, _, X, hide, result = sampled
    rows, columns = np.nonzero(hide)
    rng = np.random.default_rng(1)
    some = rng.choice(len(rows), 5000, replace=False)
    rows, columns = rows[some], columns[some]
    mean, variance = predict_entries(result.model, rows, columns)
    std = np.sqrt(variance + result.row_noise[rows] * result.column_noise[columns])
    std *= result.model.units.scale
    inside = np.count_nonzero(np.abs(X[rows, columns] - mean) <= 1.645 * std)
    # Errors of a row are not independent: as if each fifth were.
    low, high = binom(1000, 0.9).ppf([1e-4, 1 - 1e-4])
    assert low <= inside / 5 <= high


def test_the_error_estimate_is_that_of_entries_not_seen(sampled):
    _, _, X, hide, result = sampled
    filled = result.model.entries_of(result.model.rows)
    error = np.sqrt(np.mean((filled - X)[hide] ** 2))
    # From 600 entries, five standard deviations; and some for a chain still short.
    assert abs(result.held_out.rms / error - 1) < 5 / np.sqrt(2 * 600) + 0.1


def test_folding_in_a_row_of_the_data_gives_its_vectors(sampled):
    observed, *_, result = sampled
    rows, noise = fold_in(result.model, observed.take(np.array([5, 17])))
    np.testing.assert_array_equal(rows, result.model.rows[[5, 17]])
    np.testing.assert_array_equal(noise, result.row_noise[[5, 17]])


def test_pairs_are_entries_of_the_completed_matrix(sampled):
    *_, result = sampled
    rows, columns = np.array([0, 3, 299]), np.array([199, 0, 7])
    mean, variance = predict_entries(result.model, rows, columns, n_jobs=2)
    filled = result.model.entries_of(result.model.rows)
    np.testing.assert_allclose(mean, filled[rows, columns], rtol=1e-10)
    assert np.all(variance > 0)


def test_rows_with_more_noise_are_found():
    rng = np.random.default_rng(0)
    loud = np.arange(200) < 100
    X = rng.standard_normal((200, 1)) + rng.standard_normal(100)
    X += np.where(loud, 1.0, 0.1)[:, np.newaxis] * rng.standard_normal(X.shape)
    result = gibbs(Observed.from_dense(X), 1, max_iter=40, rng=rng)
    assert result.row_noise[loud].min() > 5 * result.row_noise[~loud].max()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_threads_do_not_change_the_samples(dtype):
    observed, *_ = known_model(1, shape=(500, 400), dtype=dtype)
    assert len(observed.lanes) > 1
    models = []
    for n_jobs in (1, 2):
        observed.n_jobs = observed.T.n_jobs = n_jobs
        result = gibbs(observed, 2, max_iter=8, rng=np.random.default_rng(3))
        assert result.model.rows.dtype == dtype
        models.append(result.model)
    np.testing.assert_array_equal(models[0].rows, models[1].rows)
    np.testing.assert_array_equal(models[0].columns, models[1].columns)


@pytest.mark.parametrize("case", ["one entry", "equal entries", "one row", "gaps"])
def test_what_little_is_known_has_a_finite_answer(case):
    X = np.full((5, 4), np.nan)
    if case == "one entry":
        X[2, 1] = 7.0
    elif case == "equal entries":
        X[:3] = 7.0
    elif case == "one row":
        X = np.array([[1.0, 2.0, np.nan]])
    else:
        X[:, 0], X[1] = [1, 2, 3, 4, 5], 0
    result = gibbs(Observed.from_dense(X), 1, max_iter=10, rng=np.random.default_rng(0))
    filled = result.model.entries_of(result.model.rows)
    assert np.isfinite(filled).all()
    if case in ("one entry", "equal entries"):
        assert abs(filled[4, 3] - 7) < 5


def test_a_report_may_end_it_and_is_called_after_each_sweep():
    observed, *_ = known_model(2, shape=(40, 30))
    calls = []
    result = gibbs(
        observed,
        1,
        max_iter=20,
        rng=np.random.default_rng(0),
        report=lambda: calls.append(0) or len(calls) >= 12,
    )
    assert len(calls) == len(result.history) == 12
