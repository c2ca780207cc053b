import numpy as np
import pytest
from scipy import integrate, optimize
from sklearn.decomposition import PCA

from sklearn_rnla.linalg.singular.rank_rules import (
    FixedRank,
    GavishDonoho,
    VarianceFraction,
    known_noise_threshold,
    marchenko_pastur_median,
    rank_rule,
)


def test_the_threshold_of_a_square_matrix_is_four_over_root_three():
    assert known_noise_threshold((100, 100)) == pytest.approx(4 / np.sqrt(3))


@pytest.mark.parametrize("beta", [0.1, 0.5, 1.0])
def test_the_median_of_marchenko_pastur_halves_its_mass(beta):
    low, high = (1 - np.sqrt(beta)) ** 2, (1 + np.sqrt(beta)) ** 2

    def mass(x):
        return integrate.quad(
            lambda t: np.sqrt((high - t) * (t - low)) / (2 * np.pi * beta * t), low, x
        )[0]

    median = optimize.brentq(lambda x: mass(x) - 0.5, low + 1e-9, high)
    assert marchenko_pastur_median(beta) == pytest.approx(median, rel=1e-4)


def test_unknown_noise_coefficient_is_that_of_the_paper():
    # Gavish & Donoho (2014), table IV: omega(1) is about 2.858.
    omega = known_noise_threshold((9, 9)) / np.sqrt(marchenko_pastur_median(1.0))
    assert omega == pytest.approx(2.858, abs=2e-3)


@pytest.mark.parametrize("complete", [True, False])
def test_the_planted_rank_is_found_in_noise(complete, seed):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((200, 80))
    A += 100 * rng.standard_normal((200, 4)) @ rng.standard_normal((4, 80)) / 4
    s = np.linalg.svd(A, compute_uv=False)
    kept = s if complete else s[:20]
    assert GavishDonoho()(kept, np.sum(s**2), (200, 80)) == 4
    assert GavishDonoho()(s[:4], np.sum(s**2), (200, 80)) is None


def test_a_fraction_keeps_the_fewest_that_exceed_it():
    s = np.sqrt([6.0, 3.0, 1.0])
    for fraction, k in ((0.5, 1), (0.6, 2), (0.85, 2), (0.95, 3)):
        assert VarianceFraction(fraction)(s, 10.0, (5, 3)) == k
    assert VarianceFraction(0.95)(s[:2], 10.0, (5, 3)) is None
    assert VarianceFraction(0.5)(np.zeros(3), 0.0, (5, 3)) == 1


def test_a_fixed_rank_is_itself():
    assert FixedRank(7)(np.ones(3), 1.0, (9, 9)) == 7


def test_a_number_beyond_the_shape_is_refused_by_name():
    for shape, limit in (
        ((8, 40), r"min\(n_samples=8, n_features=40\)"),
        ((None, 5), "n_features=5"),
    ):
        with pytest.raises(ValueError, match=f"n_components=12 must be at most {limit}."):
            rank_rule(12, shape)


def test_all_components_are_as_many_as_rows_turn_out_to_be():
    s = np.ones(3)
    assert rank_rule(None, (9, 7))(s, 3.0, (9, 7)) == 7
    assert rank_rule(None, (None, 7))(s, 3.0, (3, 7)) == 3
    assert rank_rule(0.5, (9, 7))(s, 3.0, (9, 7)) == 2
    assert rank_rule(4, (None, 7))(s, 3.0, (3, 7)) == 4


@pytest.mark.parametrize("seed", range(5))
def test_the_most_probable_rank_is_that_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((300, 4)) @ rng.standard_normal((4, 15))
    X += 0.3 * rng.standard_normal((300, 15))
    theirs = PCA("mle", svd_solver="full").fit(X).n_components_
    s = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)
    rule = rank_rule("mle", X.shape)
    assert rule(s, np.sum(s**2), X.shape) == theirs
    assert rule(1e-100 * s, 1e-200 * np.sum(s**2), X.shape) == theirs
    assert rule(s[:9], np.sum(s**2), X.shape) is None


def test_the_most_probable_rank_needs_as_many_rows_as_columns():
    with pytest.raises(ValueError, match=r"'mle' .* n_samples=3 .* n_features=4"):
        rank_rule("mle", (3, 4))
