"""The tasks of the everyday matrix: ours, the peers with their settings, and the error."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import scipy.linalg
from sklearn.base import clone
from sklearn.cluster import SpectralClustering
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, Ridge, RidgeClassifierCV, RidgeCV
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection

import sklearn_rnla as rnla

from .everyday_data import at_most
from .harness import installed

ALPHAS = np.logspace(-5, 1, 7)


class Trial(NamedTuple):
    """A cell to be measured.

    `ours` and the values of `peers` are called without arguments and return a result;
    `error` is a positive number of a result, the smaller the better. The first peer has its
    defaults. `at_equal_error`, a function of the peer's error, is timed in place of `ours`.
    """

    data: str
    ours: Callable
    peers: dict
    error: Callable
    at_equal_error: Callable | None = None


def _fit(estimator, *data):
    """Return a function that fits a clone of `estimator`."""
    return lambda: clone(estimator).fit(*data)


def _named(name, X, **further):
    return ", ".join(
        [f"{name} {X.shape[0]} x {X.shape[1]}", *(f"{k}={v}" for k, v in further.items())]
    )


def _split(X, y, n_most):
    """Return rows to fit, with targets, and every tenth to be predicted."""
    X, y = at_most(n_most, X, y)
    held = np.arange(len(X)) % 10 == 0
    return X[~held], y[~held], X[held], y[held]


def _rmse(X, y, model):
    return float(np.sqrt(np.mean(np.square(model.predict(X) - y))))


def _misses(X, y, model):
    """Return the share of wrong labels; half a sample is no miss, and no zero."""
    return (np.count_nonzero(model.predict(X) != y) + 0.5) / len(y)


class _Excess:
    """Error of the best rank that components leave, with the 0.1 % that `tol` allows."""

    tol = 1e-3

    def __init__(self, X, k, *, center):
        D = (X.toarray() if hasattr(X, "toarray") else X).astype(np.float64)
        self.D = D - D.mean(axis=0) if center else D
        short = self.D.T @ self.D if len(D) > D.shape[1] else self.D @ self.D.T
        values = np.clip(np.linalg.eigvalsh(short)[::-1], 0, None)
        self.total = values.sum()
        # Rounding, for data whose rank is k.
        self.least = max(values[k:].sum(), 1e-12 * self.total)

    def __call__(self, model):
        kept = self.D @ np.linalg.qr(model.components_.T.astype(np.float64))[0]
        return max(np.sqrt(max(self.total - np.sum(kept**2), 0) / self.least), 1 + self.tol)


def pca(sets, quick):
    """Yield dense PCA."""
    tables = {n: X for n, (X, _) in (sets.classes | sets.regression).items()}
    for name, X in (tables | sets.matrices).items():
        X = at_most(20_000, X)
        for k in (2, 10, 50):
            if k > min(X.shape) // 2:
                continue
            solvers = ("auto", "randomized", "covariance_eigh", "arpack", "full")
            yield Trial(
                _named(name, X, k=k),
                _fit(rnla.RandomizedPCA(k, random_state=0), X),
                {s: _fit(PCA(k, svd_solver=s, random_state=0), X) for s in solvers},
                _Excess(X, k, center=True),
            )


def truncated_svd(sets, quick):
    """Yield truncated SVD of sparse data."""
    for name, X in sets.sparse.items():
        for k in (10,) if quick else (20, 50, 100):
            yield Trial(
                _named(name, X, k=k),
                _fit(rnla.RandomizedPCA(k, with_mean=False, random_state=0), X),
                {
                    "randomized": _fit(TruncatedSVD(k, random_state=0), X),
                    "n_iter=2": _fit(TruncatedSVD(k, n_iter=2, random_state=0), X),
                    "n_iter=10": _fit(TruncatedSVD(k, n_iter=10, random_state=0), X),
                    "arpack": _fit(TruncatedSVD(k, algorithm="arpack"), X),
                },
                _Excess(X, k, center=False),
            )


def least_squares(sets, quick):
    """Yield ridge regression, and least squares without a penalty."""
    for name, (X, y) in sets.regression.items():
        X, y, T, t = _split(X, y, 100_000)
        for alpha, peer in ((1.0, Ridge()), (0.0, LinearRegression())):
            solvers = ("svd", "cholesky", "lsqr")
            others = {s: _fit(Ridge(alpha, solver=s), X, y) for s in solvers}
            yield Trial(
                _named(name, X, alpha=alpha),
                _fit(rnla.SketchedRidge(alpha=alpha, random_state=0), X, y),
                {type(peer).__name__: _fit(peer, X, y), **others},
                partial(_rmse, T, t),
            )


def _gammas(X, *factors):
    return [factor / X.shape[1] for factor in factors]


def features(sets, quick):
    """Yield kernel features, timed with as few landmarks as reach the peer's error."""
    for name, (X, _) in (sets.regression | sets.classes).items():
        X = at_most(8000, X)
        m = min(20 if quick else 300, len(X) // 3)
        for gamma in _gammas(X, 0.1, 1):
            of = {"gamma": gamma, "n_components": m, "random_state": 0}

            def fit(model, X=X):
                return clone(model).fit(X).transform(X)

            yield Trial(
                _named(name, X, gamma=f"{gamma:.2g}", landmarks=m),
                partial(fit, rnla.NystroemKernel(**of)),
                {
                    "Nystroem": partial(fit, Nystroem(**of)),
                    "RBFSampler": partial(fit, RBFSampler(**of)),
                },
                # The trace that is missing, of a kernel with ones on its diagonal.
                lambda F: max(abs(1 - np.sum(F.astype(float) ** 2) / len(F)), 1e-10),
                lambda error, fit=fit, of=of: fit(rnla.NystroemKernel(**of, tol=error)),
            )


def kernel_ridge(sets, quick):
    """Yield kernel ridge regression and classification, the penalty chosen."""
    for name, (X, y) in sets.regression.items():
        X, y, T, t = _split(X, y, 12_000)
        m = min(20 if quick else 500, len(X) // 2)
        for gamma in _gammas(X, 0.3, 1):
            peers = {
                "Nystroem, RidgeCV": _fit(_on_features(RidgeCV(ALPHAS), gamma, m), X, y)
            }
            if len(X) <= 1000 and not quick:
                search = GridSearchCV(
                    KernelRidge(kernel="rbf", gamma=gamma), {"alpha": ALPHAS}
                )
                peers["KernelRidge, searched"] = _fit(search, X, y)
            ours = rnla.NystroemRidge(
                alphas=ALPHAS, n_landmarks=m, gamma=gamma, random_state=0
            )
            yield Trial(
                _named(name, X, gamma=f"{gamma:.2g}"),
                _fit(ours, X, y),
                peers,
                partial(_rmse, T, t),
            )
    for name, (X, y) in sets.classes.items():
        X, y, T, t = _split(X, y, 12_000)
        m = min(20 if quick else 500, len(X) // 2)
        gamma = 1 / X.shape[1]
        ours = rnla.NystroemRidgeClassifier(
            alphas=ALPHAS, n_landmarks=m, gamma=gamma, random_state=0
        )
        peer = _on_features(RidgeClassifierCV(ALPHAS), gamma, m)
        yield Trial(
            _named(name, X, gamma=f"{gamma:.2g}"),
            _fit(ours, X, y),
            {"Nystroem, RidgeClassifierCV": _fit(peer, X, y)},
            partial(_misses, T, t),
        )


def _on_features(model, gamma, m):
    return make_pipeline(Nystroem(gamma=gamma, n_components=m, random_state=0), model)


def gaussian_process(sets, quick):
    """Yield Gaussian processes of a few hundred samples, against the exact one."""
    for name, (X, y) in sets.regression.items():
        if X.shape[1] > 12:
            continue
        X, y, T, t = _split(X, y, 60 if quick else 1500)
        kernel = ConstantKernel() * RBF(np.full(X.shape[1], 2.0)) + WhiteKernel(0.05)

        def score(model, T=T, t=t):
            mean, std = model.predict(T, return_std=True)
            log_loss = np.log(2 * np.pi * std**2) + np.square((t - mean) / std)
            return float(np.exp(0.5 * np.mean(log_loss)))

        yield Trial(
            _named(name, X),
            _fit(rnla.NystroemGaussianProcessRegressor(kernel, random_state=0), X, y),
            {"GaussianProcessRegressor": _fit(GaussianProcessRegressor(kernel), X, y)},
            score,
        )


def imputation(sets, quick):
    """Yield completion of tables of which some entries are hidden."""
    for name, (X, _) in (sets.regression | sets.classes).items():
        X = at_most(100 if quick else 1500, X)
        for share in (0.1, 0.3):
            hidden = np.random.default_rng(0).random(X.shape) < share
            hidden[hidden.all(axis=1)] = False
            Y = np.where(hidden, np.nan, X)

            def fill(model, Y=Y):
                return clone(model).fit_transform(Y)

            def error(filled, X=X, hidden=hidden):
                return float(np.sqrt(np.mean(np.square((filled - X)[hidden]))))

            weighted = KNNImputer(n_neighbors=15, weights="distance")
            others = {
                "KNNImputer": KNNImputer(),
                "15 weighted neighbours": weighted,
                "SimpleImputer": SimpleImputer(),
            }
            if X.shape[1] < 100:
                others = {"IterativeImputer": IterativeImputer(random_state=0), **others}
            yield Trial(
                _named(name, X, missing=share),
                partial(fill, rnla.MatrixCompleter(random_state=0)),
                {peer: partial(fill, model) for peer, model in others.items()},
                error,
            )


def ratings(sets, quick):
    """Yield recommender ratings; the peers come with scikit-surprise."""
    surprise, pandas = installed("surprise"), installed("pandas")
    if not (surprise and pandas):
        return
    for name, (pairs, y) in sets.ratings.items():
        if len(y) > 500_000:
            continue
        P, y, Q, t = _split(pairs, y, len(y))
        frame = pandas.DataFrame({"user": P[:, 0], "item": P[:, 1], "rating": y})
        reader = surprise.Reader(rating_scale=(y.min(), y.max()))
        data = surprise.Dataset.load_from_df(frame, reader).build_full_trainset()
        peers = {
            "SVD": lambda data=data: surprise.SVD(random_state=0).fit(data),
            "BaselineOnly": lambda data=data: surprise.BaselineOnly(verbose=False).fit(
                data
            ),
        }

        def error(model, Q=Q, t=t):
            if isinstance(model, rnla.MatrixFactorizationRegressor):
                return _rmse(Q, t, model)
            found = [model.predict(int(u), int(i)).est for u, i in Q]
            return float(np.sqrt(np.mean(np.square(np.array(found) - t))))

        ours = rnla.MatrixFactorizationRegressor(clip=True, random_state=0)
        yield Trial(f"{name}, {len(y)}", _fit(ours, P, y), peers, error)


def clustering(sets, quick):
    """Yield spectral clustering of classes; medians of three seeds of ours."""
    for name, (X, y) in sets.classes.items():
        X, y = at_most(4000, X, y)
        of = {"n_clusters": len(np.unique(y)), "gamma": 1 / X.shape[1]}

        def fits(method, X=X, of=of, **setting):
            models = [method(**of, **setting, random_state=seed) for seed in range(3)]
            return [model.fit(X) for model in models]

        def error(models, y=y):
            scores = [adjusted_rand_score(y, model.labels_) for model in models]
            return 1.01 - float(np.median(scores))

        settings = {"default": {}, "cluster_qr": {"assign_labels": "cluster_qr"}}
        peers = {
            n: partial(fits, SpectralClustering, **setting)
            for n, setting in settings.items()
        }
        ours = partial(fits, rnla.NystroemSpectralClustering)
        yield Trial(_named(name, X), ours, peers, error)


def columns(sets, quick):
    """Yield selections of columns, against QR with pivoting."""
    tables = {n: at_most(8000, X) for n, (X, _) in (sets.classes | sets.regression).items()}
    for name, X in (tables | sets.sparse).items():
        D = X.toarray() if hasattr(X, "toarray") else X
        if D.size > 2e7:
            continue
        k = max(1, min(30, D.shape[1] // 3))

        def error(chosen, D=D):
            Q = np.linalg.qr(D[:, chosen].astype(np.float64))[0]
            return float(np.sqrt(np.sum(np.square(D - Q @ (Q.T @ D)))))

        yield Trial(
            _named(name, X, k=k),
            lambda X=X, k=k: rnla.CURSelector(k, random_state=0).fit(X).column_indices_,
            {
                "QR with pivoting": lambda D=D, k=k: scipy.linalg.qr(
                    D, mode="r", pivoting=True
                )[1][:k]
            },
            error,
        )


def fixed_cost(sets, quick):
    """Yield fits and transforms of a table of 100 x 5: what a grid search pays."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 5))
    y = X @ rng.standard_normal(5) + 0.1 * rng.standard_normal(100)
    missing = np.where(rng.random(X.shape) < 0.1, np.nan, X)
    kernel = RBF() + WhiteKernel()
    pairs = [
        (rnla.RandomizedPCA(2), PCA(2), X, None),
        (rnla.RandomizedPCA(2, with_mean=False), TruncatedSVD(2), X, None),
        (rnla.NystroemKernel(n_components=20), Nystroem(n_components=20), X, None),
        (rnla.SketchedRidge(), Ridge(), X, y),
        (rnla.NystroemRidge(alpha=1.0), KernelRidge(kernel="rbf"), X, y),
        (
            rnla.NystroemRidgeClassifier(alpha=1.0, n_landmarks=20),
            make_pipeline(Nystroem(n_components=20), RidgeClassifierCV()),
            X,
            y > 0,
        ),
        (rnla.CURSelector(2), SelectKBest(f_regression, k=2), X, y),
        (
            rnla.NystroemGaussianProcessRegressor(kernel),
            GaussianProcessRegressor(kernel),
            X,
            y,
        ),
        (rnla.NystroemSpectralClustering(3), SpectralClustering(3), X, None),
        (rnla.MatrixCompleter(), IterativeImputer(), missing, None),
        (
            rnla.SketchProjection(3, sketch="gaussian"),
            GaussianRandomProjection(3),
            X,
            None,
        ),
        (rnla.SketchProjection(3), SparseRandomProjection(3), X, None),
    ]
    for ours, peer, X, y in pairs:

        def use(model, X=X, y=y):
            fitted = clone(model).fit(X, y)
            return next(
                getattr(fitted, does)(X)
                for does in ("transform", "predict", "fit_predict")
                if hasattr(fitted, does)
            )

        yield Trial(
            type(ours).__name__,
            partial(use, ours),
            {type(peer).__name__: partial(use, peer)},
            lambda result: 1.0,
        )


TRIALS = {
    "pca": pca,
    "truncated-svd": truncated_svd,
    "least-squares": least_squares,
    "features": features,
    "kernel-ridge": kernel_ridge,
    "gaussian-process": gaussian_process,
    "imputation": imputation,
    "ratings": ratings,
    "clustering": clustering,
    "columns": columns,
    "fixed-cost": fixed_cost,
}
