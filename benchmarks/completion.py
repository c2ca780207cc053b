"""MatrixCompleter and MatrixFactorizationRegressor against other ways to complete."""

import os
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from sklearn.metrics import root_mean_squared_error as rmse

from sklearn_rnla import MatrixFactorizationRegressor

from . import factorization, imputation, nuclear_norm, recovery
from .harness import compare, installed, race, rounds

OURS = "MatrixFactorizationRegressor"
_SETS = ("movietweetings_10core", "movietweetings100k")
# Of a normal distribution, for an interval of 90 %.
_QUANTILE = 1.645


def ratings(report, quick):
    """Compare held-out errors: ours by default, peers' parameters by inner validation."""
    for name, (pairs, y) in _sets(quick).items():
        report.note(f"{name}: {len(y)} ratings, a tenth held out, medians over seeds")
        table = {}
        for seed in range(1 if quick else 5):
            test = _tenth(len(y), seed)
            inner = _tenth(np.count_nonzero(~test), 99)
            seen = pairs[~test], y[~test]
            methods = {OURS: partial(_ours, *seen, pairs[test])}
            for peer, (fit, grid) in _peers(quick).items():
                errors = [
                    rmse(
                        seen[1][inner],
                        fit(seen[0][~inner], seen[1][~inner], seen[0][inner], **parameters),
                    )
                    for parameters in grid
                ]
                chosen = grid[int(np.argmin(errors))]
                methods[peer] = partial(fit, *seen, pairs[test], **chosen)
            runs = race(methods, rounds=rounds(quick, 3))
            columns = {"RMSE": lambda predicted, y=y[test]: rmse(y, predicted)}
            for row in compare(runs, OURS, columns):
                table.setdefault(row["method"], []).append(row)
        best = (
            min(
                (np.median([row["RMSE"] for row in rows]), name)
                for name, rows in table.items()
                if name != OURS
            )
            if len(table) > 1
            else (np.nan, "no peer")
        )
        report.table(
            [
                {
                    "method": method,
                    "RMSE": f"{np.median([row['RMSE'] for row in rows]):.4f}",
                    **{
                        key: float(np.median([row[key] for row in rows]))
                        for key in ("median ms", "peer / ours")
                    },
                    "wins over ours": sum(
                        row["RMSE"] < ours["RMSE"]
                        for row, ours in zip(rows, table[OURS], strict=True)
                    ),
                }
                for method, rows in table.items()
            ]
        )
        report.note(f"best peer: {best[1]}, {best[0]:.4f}")


def coverage(report, quick):
    """Count how many held-out ratings lie in the 90 % intervals of the sampler."""
    rows = []
    for name, (pairs, y) in _sets(quick).items():
        for seed in range(1 if quick else 5):
            test = _tenth(len(y), seed)
            model = MatrixFactorizationRegressor(clip=True, random_state=seed)
            model.fit(pairs[~test], y[~test])
            mean, std = model.predict(pairs[test], return_std=True)
            rows.append(
                {
                    "set": name,
                    "seed": seed,
                    "coverage": np.mean(np.abs(y[test] - mean) <= _QUANTILE * std),
                    "RMSE": rmse(y[test], mean),
                    "error_estimate_": model.error_estimate_,
                }
            )
    report.table(rows)


def _ours(pairs, y, new):
    model = MatrixFactorizationRegressor(clip=True, random_state=0)
    return model.fit(pairs, y).predict(new)


def _peers(quick):
    """Return peers: a function of training pairs, values and new pairs, and parameters."""
    peers = {}
    surprise, cmfrec = installed("surprise"), installed("cmfrec")
    if surprise:

        def of_surprise(make):
            def fit(pairs, y, new, **parameters):
                pandas = installed("pandas")
                frame = pandas.DataFrame({"u": pairs[:, 0], "i": pairs[:, 1], "r": y})
                reader = surprise.Reader(rating_scale=(y.min(), y.max()))
                data = surprise.Dataset.load_from_df(frame, reader).build_full_trainset()
                algorithm = make(parameters).fit(data)
                return np.array([algorithm.predict(u, i).est for u, i in new])

            return fit

        penalties = (2, 4, 8, 15)
        peers["surprise BaselineOnly"] = (
            of_surprise(
                lambda p: surprise.BaselineOnly({"method": "als", **p}, verbose=False)
            ),
            _grid(reg_u=penalties, reg_i=penalties, n_epochs=(20,)),
        )
        peers["surprise SVD"] = (
            of_surprise(lambda p: surprise.SVD(random_state=0, **p)),
            _grid(n_factors=(5, 20), reg_all=(0.05, 0.1, 0.2), n_epochs=(20, 40)),
        )
        peers["surprise SVD++"] = (
            of_surprise(lambda p: surprise.SVDpp(random_state=0, **p)),
            _grid(n_factors=(5, 20), reg_all=(0.05, 0.1, 0.2), n_epochs=(20, 40)),
        )
    if cmfrec:

        def of_cmfrec(pairs, y, new, **parameters):
            pandas = installed("pandas")
            frame = pandas.DataFrame(
                {"UserId": pairs[:, 0], "ItemId": pairs[:, 1], "Rating": y}
            )
            model = cmfrec.CMF(verbose=False, nthreads=-1, **parameters).fit(frame)
            predicted = model.predict(user=new[:, 0], item=new[:, 1])
            return np.clip(np.nan_to_num(predicted, nan=y.mean()), y.min(), y.max())

        peers["cmfrec CMF"] = (
            of_cmfrec,
            _grid(k=(5, 20), lambda_=(3.0, 10.0, 30.0))
            + _grid(k=(5, 20), lambda_=(0.1, 0.3, 1.0), scale_lam=(True,)),
        )
    if quick:
        return {name: (fit, grid[:1]) for name, (fit, grid) in peers.items()}
    return peers


def _grid(**values):
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


def _tenth(n, seed):
    mask = np.zeros(n, dtype=bool)
    mask[np.random.default_rng(seed).permutation(n)[: n // 10]] = True
    return mask


def _sets(quick):
    """Return ratings: those of the folder if there is one, or generated ones."""
    folder = Path(os.environ.get("BENCHMARK_DATA", ""))
    found = [folder / f"{name}.npz" for name in _SETS]
    found = [path for path in found if path.exists()]
    if quick or not found:
        return {
            "generated": _generated(*((200, 100, 3000) if quick else (3000, 1500, 60_000)))
        }
    sets = {}
    for path in found:
        stored = np.load(path)
        pairs = np.column_stack([stored["user"], stored["item"]]).astype(np.int64)
        sets[path.stem] = pairs, stored["rating"].astype(np.float64)
    return sets


def _generated(n_users, n_items, n_ratings):
    rng = np.random.default_rng(0)
    popularity = 1 / np.arange(1, n_items + 1) ** 0.7
    pairs = np.column_stack(
        [
            rng.integers(0, n_users, n_ratings),
            rng.choice(n_items, n_ratings, p=popularity / popularity.sum()),
        ]
    )
    _, first = np.unique(pairs, axis=0, return_index=True)
    pairs = pairs[first]
    U, V = (rng.standard_normal((n, 4)) / 2 for n in (n_users, n_items))
    y = 7 + (U[pairs[:, 0]] * V[pairs[:, 1]]).sum(axis=1)
    for side, n in zip(pairs.T, (n_users, n_items), strict=True):
        y += 0.7 * rng.standard_normal(n)[side]
    y += rng.standard_normal(len(y))
    return pairs, np.clip(y.round(), 0, 10)


TASKS = {
    "ratings": ratings,
    "coverage": coverage,
    **factorization.TASKS,
    **recovery.TASKS,
    **nuclear_norm.TASKS,
    **imputation.TASKS,
}
