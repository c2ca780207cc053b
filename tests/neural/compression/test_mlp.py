"""Networks of scikit-learn, compressed: they predict as before."""

import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.neural_network import MLPClassifier, MLPRegressor

from sklearn_rnla import compress_mlp

METHODS = pytest.mark.parametrize("method", ["low_rank", "neurons"])
DIGITS, LABELS = load_digits(return_X_y=True)
DIGITS = DIGITS / 16


def trained(kind, X, y, **parameters):
    parameters = {"max_iter": 30, "random_state": 0} | parameters
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return kind(**parameters).fit(X, y)


@pytest.fixture(scope="module")
def network():
    return trained(MLPClassifier, DIGITS[:1000], LABELS[:1000], hidden_layer_sizes=(80, 60))


def of_low_rank(network):
    """Return a copy whose hidden matrices have rank 4, so that 4 factors are exact."""
    network = pickle.loads(pickle.dumps(network))
    for i, W in enumerate(network.coefs_[:-1]):
        U, s, Vt = np.linalg.svd(W, full_matrices=False)
        network.coefs_[i] = (U[:, :4] * s[:4]) @ Vt[:4]
    return network


TARGETS = {
    "classes": LABELS[:400],
    "names": np.array(list("abcdefghij"))[LABELS[:400]],
    "two classes": np.where(LABELS[:400] > 4, "high", "low"),
    "several labels": np.stack([LABELS[:400] > 4, LABELS[:400] % 2], axis=1).astype(int),
}


@pytest.mark.parametrize("target", TARGETS)
def test_predictions_of_an_exact_factorisation_are_unchanged(target):
    network = of_low_rank(
        trained(MLPClassifier, DIGITS[:400], TARGETS[target], hidden_layer_sizes=(40, 30))
    )
    small = compress_mlp(network, 0.7, DIGITS[:400], ridge=0)
    assert small.compression_["rank"][:2] == [4, 4]
    new = DIGITS[400:]
    np.testing.assert_allclose(
        small.predict_proba(new), network.predict_proba(new), atol=1e-7
    )
    np.testing.assert_array_equal(small.predict(new), network.predict(new))
    assert small.predict(new).dtype == network.predict(new).dtype
    assert small.score(DIGITS[:400], TARGETS[target]) == network.score(
        DIGITS[:400], TARGETS[target]
    )
    assert small.predict_log_proba(new).shape == network.predict_log_proba(new).shape


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("n_targets", [1, 2])
def test_regressions_of_an_exact_factorisation_are_unchanged(activation, n_targets):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 10))
    y = np.sin(X[:, :n_targets]).squeeze()
    network = of_low_rank(
        trained(MLPRegressor, X, y, hidden_layer_sizes=(30, 30), activation=activation)
    )
    small = compress_mlp(network, 0.9, X, ridge=0)
    assert isinstance(small, MLPRegressor)
    new = rng.standard_normal((50, 10))
    np.testing.assert_allclose(small.predict(new), network.predict(new), atol=1e-6)
    assert small.predict(new).shape == network.predict(new).shape
    np.testing.assert_allclose(small.score(X, y), network.score(X, y))


@METHODS
def test_a_full_budget_changes_nothing(network, method):
    same = compress_mlp(network, 1.0, DIGITS[:500], method=method)
    np.testing.assert_allclose(same.predict_proba(DIGITS), network.predict_proba(DIGITS))


@METHODS
def test_a_third_of_the_entries_is_enough_for_digits(network, method):
    small = compress_mlp(network, 1 / 3, DIGITS[:1000], method=method)
    before, after = (
        model.score(DIGITS[1000:], LABELS[1000:]) for model in (network, small)
    )
    assert after >= before - 0.03


@METHODS
@pytest.mark.parametrize("budget", [0.05, 0.2, 0.5, 0.9, 1500])
def test_a_budget_is_never_exceeded(network, method, budget):
    small = compress_mlp(network, budget, DIGITS[:500], method=method)
    total = sum(W.size for W in network.coefs_)
    limit = budget if isinstance(budget, int) else budget * total
    if method == "low_rank":
        used = sum(part.size for layer in small.factors_ for part in layer)
    else:
        used = sum(W.size for W in small.coefs_)
        assert [W.shape[1] for W in small.coefs_[:-1]] == list(small.hidden_layer_sizes)
    assert limit - 200 <= used <= limit


def test_outputs_lose_less_when_activations_are_known(network):
    X, new = DIGITS[:1000], DIGITS[1000:]
    lost = {
        known: np.linalg.norm(
            compress_mlp(network, 0.25, X if known else None).predict_proba(new)
            - network.predict_proba(new)
        )
        for known in (False, True)
    }
    assert lost[True] < lost[False]


@METHODS
def test_the_network_given_stays_as_it_is(network, method):
    before = pickle.dumps(network.coefs_)
    small = compress_mlp(network, 0.3, DIGITS[:500], method=method)
    assert isinstance(small, MLPClassifier)
    for values in (*vars(small).values(),):
        for mine in values if isinstance(values, list) else ():
            for part in mine if isinstance(mine, tuple) else (mine,):
                if isinstance(part, np.ndarray):
                    part *= 0
    assert pickle.dumps(network.coefs_) == before


@METHODS
def test_it_pickles_to_less_and_predicts_the_same(network, method):
    small = compress_mlp(network, 0.25, DIGITS[:500], method=method)
    stored = pickle.dumps(small)
    assert len(stored) < 0.5 * len(pickle.dumps(network))
    np.testing.assert_array_equal(
        pickle.loads(stored).predict(DIGITS), small.predict(DIGITS)
    )


@METHODS
def test_a_clone_is_trained_as_scikit_learns(network, method):
    small = compress_mlp(network, 0.25, DIGITS[:500], method=method)
    small.set_params(max_iter=2, tol=0)
    again = clone(small)
    assert type(again) is type(small)
    assert again.get_params() == small.get_params()
    with pytest.raises(NotFittedError):
        again.predict(DIGITS)
    for model in (again, small):
        with pytest.warns(ConvergenceWarning):
            model.fit(DIGITS[:200], LABELS[:200])
        plain = clone(network).set_params(
            hidden_layer_sizes=small.hidden_layer_sizes, max_iter=2, tol=0
        )
        with pytest.warns(ConvergenceWarning):
            plain.fit(DIGITS[:200], LABELS[:200])
        np.testing.assert_array_equal(
            model.predict_proba(DIGITS), plain.predict_proba(DIGITS)
        )
        np.testing.assert_array_equal(model.predict(DIGITS), plain.predict(DIGITS))


def test_a_network_of_fewer_neurons_is_trained_on(network):
    small = compress_mlp(network, 0.1, DIGITS[:500], method="neurons")
    before = small.score(DIGITS[:1000], LABELS[:1000])
    for _ in range(5):
        small.partial_fit(DIGITS[:1000], LABELS[:1000])
    assert small.score(DIGITS[:1000], LABELS[:1000]) > before


def test_a_factored_network_is_not_trained_on(network):
    small = compress_mlp(network, 0.3)
    assert not hasattr(small, "partial_fit")
    with pytest.raises(ValueError, match="network is factored"):
        compress_mlp(small, 0.3)


def test_a_factored_network_that_was_trained_anew_is_one_of_scikit_learn():
    small = compress_mlp(
        trained(MLPClassifier, DIGITS[:200], LABELS[:200], hidden_layer_sizes=20), 0.5
    )
    small.set_params(max_iter=2, early_stopping=True)
    with pytest.raises(ValueError, match="NaN"):
        small.fit(DIGITS[:200] * np.nan, LABELS[:200])
    assert small.predict(DIGITS).shape == LABELS.shape
    with pytest.warns(ConvergenceWarning):
        small.fit(DIGITS[:200], LABELS[:200])
    assert not hasattr(small, "factors_")
    assert not hasattr(small, "compression_")
    thin = compress_mlp(small, 0.5, DIGITS[:200], method="neurons")
    assert type(thin) is MLPClassifier
    assert not hasattr(thin, "factors_")


@METHODS
def test_sparse_samples_give_what_dense_ones_do(network, method):
    X = sp.csr_array(DIGITS[:500])
    sparse = compress_mlp(network, 0.4, X, method=method)
    dense = compress_mlp(network, 0.4, DIGITS[:500], method=method)
    np.testing.assert_allclose(
        sparse.predict_proba(sp.csr_array(DIGITS)), dense.predict_proba(DIGITS), atol=1e-8
    )


@METHODS
def test_precision_is_kept(method):
    X = DIGITS[:200].astype(np.float32)
    network = trained(MLPClassifier, X, LABELS[:200], hidden_layer_sizes=20)
    small = compress_mlp(network, 0.5, X, method=method)
    assert small.predict_proba(X).dtype == np.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 0.0}, "'budget' parameter"),
        ({"budget": 10}, "budget=10 must be at least"),
        ({"budget": 10, "method": "neurons"}, "budget=10 must be at least 75"),
        ({"X": None, "method": "neurons"}, "method='neurons' needs X"),
        ({"X": DIGITS[:, 1:]}, "X has 63 features, but MLP"),
        ({"X": DIGITS * np.nan}, "NaN"),
        ({"method": "quantize"}, "'method' parameter"),
        ({"network": 3}, "'network' parameter"),
    ],
)
def test_bad_arguments_are_named(network, options, message):
    arguments = {"network": network, "budget": 0.5, "X": DIGITS} | options
    with pytest.raises(ValueError, match=message):
        compress_mlp(**arguments)


def test_what_is_not_fitted_or_has_no_neurons_is_refused():
    with pytest.raises(NotFittedError):
        compress_mlp(MLPClassifier(), 0.5)
    single = trained(MLPClassifier, DIGITS[:50], LABELS[:50], hidden_layer_sizes=())
    with pytest.raises(ValueError, match="needs a hidden layer"):
        compress_mlp(single, 0.5, DIGITS, method="neurons")


@METHODS
def test_blocks_in_a_list_are_refused(network, method):
    with pytest.raises(ValueError, match=r"X is a list of 2 two-dimensional block"):
        compress_mlp(network, 0.5, [DIGITS[:3], DIGITS[3:90]], method=method)


@METHODS
def test_columns_must_be_in_the_order_of_the_training_data(method):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(DIGITS[:300, 10:16], columns=list("abcdef"))
    fitted = trained(MLPClassifier, frame, LABELS[:300], hidden_layer_sizes=6)
    compress_mlp(fitted, 0.9, frame, method=method)
    with pytest.raises(ValueError, match="feature names should match"):
        compress_mlp(fitted, 0.9, frame[list("fedcba")], method=method)
