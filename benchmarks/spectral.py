"""NystroemSpectralClustering against the spectral clustering of scikit-learn."""

import warnings
from functools import partial
from statistics import median

import numpy as np
from sklearn.cluster import SpectralClustering
from sklearn.datasets import load_digits, make_circles, make_moons
from sklearn.metrics import adjusted_rand_score

from sklearn_rnla import NystroemSpectralClustering

from .datasets import real_sets
from .harness import compare, installed, race, rounds

OURS = "NystroemSpectralClustering"

# Widths that are tried on a sample of so many rows.
_GAMMAS = np.logspace(-2, 2, 9)
_TUNING_ROWS = 800

# Classes of the letters.
_LETTERS = 5


def rings(n, seed=0):
    X, y = make_circles(n, factor=0.5, noise=0.05, random_state=seed)
    return X, y


def moons(n, seed=0):
    X, y = make_moons(n, noise=0.07, random_state=seed)
    return X, y


def sets(n, quick):
    """Return names and (X, y): two in the plane, and real ones of any size."""
    found = {"rings": rings(n), "moons": moons(n)}
    X, y = load_digits(return_X_y=True)
    found["digits"] = X / 16, y
    real = {} if quick else real_sets(np.float64, quick)
    if "letter" in real:
        X, y, _ = real["letter"]
        chosen = np.isin(y, np.unique(y)[:_LETTERS])
        found[f"letter, first {_LETTERS}"] = X[chosen], y[chosen]
    if quick:
        found = {name: (X[:n], y[:n]) for name, (X, y) in found.items()}
    return found


def tuned(X, y, n_clusters, quick):
    """Return the gamma of the best ARI of the peer on a sample."""
    size = 150 if quick else _TUNING_ROWS
    sample = np.random.default_rng(0).permutation(len(X))[:size]
    gammas = (_GAMMAS if not quick else np.logspace(-1, 1, 3)) * 2 / X.shape[1]
    scores = [
        adjusted_rand_score(y[sample], labels(peer(n_clusters, gamma=g), X[sample]))
        for g in gammas
    ]
    return float(gammas[int(np.argmax(scores))])


def peer(n_clusters, **parameters):
    return SpectralClustering(n_clusters, random_state=0, **parameters)


def labels(model, X):
    with warnings.catch_warnings():
        # A graph of neighbours that is not connected.
        warnings.simplefilter("ignore", UserWarning)
        return model.fit_predict(X)


def ours(n_clusters, gamma, seed=0, **parameters):
    return NystroemSpectralClustering(
        n_clusters, gamma=gamma, random_state=seed, **parameters
    )


def peers(n_clusters, gamma):
    """Return names and models, None where pyamg is missing."""
    amg = installed("pyamg") is not None
    neighbors = partial(peer, n_clusters, affinity="nearest_neighbors")
    return {
        "SpectralClustering": peer(n_clusters, gamma=gamma),
        "SpectralClustering, amg": peer(n_clusters, gamma=gamma, eigen_solver="amg")
        if amg
        else None,
        "SpectralClustering, neighbors": neighbors(),
        "SpectralClustering, neighbors, amg": neighbors(eigen_solver="amg")
        if amg
        else None,
    }


def _compared(report, name, X, y, models, gamma, n_rounds, patience):
    """Race models, and report their ARI; ours over ten seeds."""
    k = len(np.unique(y))
    runs = race(
        {label: model and partial(labels, model, X) for label, model in models.items()},
        rounds=n_rounds,
        patience=patience,
    )
    report.note(f"{name}: {X.shape[0]} x {X.shape[1]}, {k} clusters, {gamma=:.3g}")
    report.table(compare(runs, OURS, {"ARI": partial(adjusted_rand_score, y)}))
    return k


def accuracy(report, quick):
    """Compare ARI and time with those of the exact method."""
    n, seeds = (200, 2) if quick else (5000, 10)
    for name, (X, y) in sets(n, quick).items():
        k = len(np.unique(y))
        gamma = tuned(X, y, k, quick)
        models = {OURS: ours(k, gamma)} | peers(k, gamma)
        if quick:
            models = dict(list(models.items())[:2])
        _compared(report, name, X, y, models, gamma, rounds(quick, 3), 1.0)
        scores = [
            adjusted_rand_score(y, ours(k, gamma, seed).fit_predict(X))
            for seed in range(seeds)
        ]
        report.note(
            f"ours over {seeds} seeds: median ARI {median(scores):.4f}, "
            f"from {min(scores):.4f} to {max(scores):.4f}"
        )


def landmarks(report, quick):
    """Show what ARI and time the number of landmarks and their choice lead to."""
    n, seeds = (200, 1) if quick else (5000, 10)
    sizes = (20,) if quick else (50, 100, 200, 300, 600)
    for name, (X, y) in sets(n, quick).items():
        k = len(np.unique(y))
        gamma = tuned(X, y, k, quick)
        rows = []
        for m in sizes:
            row = {"landmarks": m}
            for method in ("rpcholesky", "kmeans", "uniform"):
                models = [
                    ours(k, gamma, seed, n_landmarks=m, landmarks=method).fit(X)
                    for seed in range(seeds)
                ]
                scores = [adjusted_rand_score(y, model.labels_) for model in models]
                row[f"ARI, {method}"] = median(scores)
                row[f"least, {method}"] = min(scores)
                if method == "rpcholesky":
                    row["error"] = models[0].error_estimate_
            rows.append(row)
        report.note(f"{name}: {X.shape[0]} x {X.shape[1]}, {gamma=:.3g}; {seeds} seeds")
        report.table(rows)


def assignment(report, quick):
    """Compare the ways to assign labels, with those of scikit-learn."""
    n, seeds = (200, 1) if quick else (2000, 10)
    for name, (X, y) in sets(n, quick).items():
        k = len(np.unique(y))
        gamma = tuned(X, y, k, quick)
        rows = []
        for method in ("kmeans", "cluster_qr", "discretize"):
            scores = [
                adjusted_rand_score(
                    y, ours(k, gamma, seed, assign_labels=method).fit_predict(X)
                )
                for seed in range(seeds)
            ]
            exact = labels(peer(k, gamma=gamma, assign_labels=method), X)
            rows.append(
                {
                    "assign_labels": method,
                    "ARI": median(scores),
                    "least": min(scores),
                    "ARI, SpectralClustering": adjusted_rand_score(y, exact),
                }
            )
        report.note(f"{name}: {X.shape[0]} x {X.shape[1]}, {gamma=:.3g}; {seeds} seeds")
        report.table(rows)


def large(report, quick):
    """Run 20000 points beside the exact method, whose matrix has 3.2 GB."""
    n = 300 if quick else 20_000
    X, y = rings(n)
    gamma = 30.0
    models = {OURS: ours(2, gamma)} | peers(2, gamma)
    models.pop("SpectralClustering, amg")
    _compared(report, "rings", X, y, models, gamma, rounds(quick, 3), 1.0)


def alone(report, quick):
    """Run half a million points, of which no peer takes all pairs."""
    n = 1000 if quick else 500_000
    for name, make in {"rings": rings, "moons": moons}.items():
        X, y = make(n)
        for dtype in (np.float32, np.float64):
            data, gamma = X.astype(dtype), 30.0
            models = {OURS: ours(2, gamma, n_landmarks=min(300, n // 10))}
            title = f"{name}, {data.dtype}"
            _compared(report, title, data, y, models, gamma, rounds(quick, 1), 60.0)


def growth(report, quick):
    """Show how time grows with rows and with landmarks."""
    base = {"n": 1000, "m": 20} if quick else {"n": 25_000, "m": 150}
    for name in base:
        rows, before = [], None
        for factor in (1, 2) if quick else (1, 2, 4, 8) if name == "n" else (1, 2, 4):
            size = base | {name: base[name] * factor}
            X, _ = moons(size["n"])
            # Narrow, so that the numerical rank does not end the choice of landmarks.
            model = ours(2, 2000.0, n_landmarks=size["m"])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                runs = race(
                    {"fit": partial(model.fit, X), "predict": partial(model.predict, X)},
                    rounds=rounds(quick, 3),
                )
            row = {name: size[name]}
            for label, run in runs.items():
                row[f"{label} ms"] = 1e3 * run.seconds
                row[f"{label} x"] = before and run.seconds / before[label].seconds
            row["fit MB"] = runs["fit"].peak and runs["fit"].peak / 2**20
            rows.append(row)
            before = runs
        report.note(", ".join(f"{key}={v}" for key, v in base.items() if key != name))
        report.table(rows)


TASKS = {
    "accuracy": accuracy,
    "landmarks": landmarks,
    "assignment": assignment,
    "large": large,
    "alone": alone,
    "growth": growth,
}
