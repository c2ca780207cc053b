"""
The rank of a completion
========================

How many factors do the entries support? A grid search over the rank answers that, as
cross-validation hides entries. So does ``rank="auto"``, in one fit. And with a penalty or
a prior made from the data, the answer matters little.
"""

# %%
# A matrix of rank 5 and noise. A quarter of the entries is known, as rows, columns and values.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GridSearchCV, KFold

from sklearn_rnla import MatrixCompleter, MatrixFactorizationRegressor

rng = np.random.default_rng(0)
m, n, rank, noise = 200, 120, 5, 0.5
truth = rng.standard_normal((m, rank)) @ rng.standard_normal((rank, n)) / np.sqrt(rank)
values = truth + noise * rng.standard_normal((m, n))
known = rng.random((m, n)) < 0.25
pairs, y = np.argwhere(known), values[known]

# %%
# A grid search for each of three solvers, with the scores of held-out entries.
# "iterative_svd" is least squares; "als" has a penalty that it estimates from the noise;
# "gibbs" averages over all factors that the entries allow.

ranks = [1, 2, 3, 4, 5, 6, 8, 12, 16]
solvers = {
    "iterative_svd": {"color": "#e69f00", "marker": "s"},
    "als": {"color": "#0072b2", "marker": "o"},
    "gibbs": {"color": "#d55e00", "marker": "D"},
}
folds = KFold(3, shuffle=True, random_state=0)
errors, chosen = {}, {}
for solver in solvers:
    model = MatrixFactorizationRegressor(solver=solver, tol=1e-3, random_state=0)
    search = GridSearchCV(
        model, {"rank": ranks}, cv=folds, scoring="neg_root_mean_squared_error"
    )
    search.fit(pairs, y)
    errors[solver] = -search.cv_results_["mean_test_score"]
    chosen[solver] = model.set_params(rank="auto").fit(pairs, y)
    print(
        f"{solver:13}  search: rank {search.best_params_['rank']}, "
        f"RMSE {-search.best_score_:.3f};  auto: rank {chosen[solver].rank_}, "
        f"RMSE {chosen[solver].error_estimate_:.3f}"
    )

fig, ax = plt.subplots(figsize=(7, 4.4), layout="constrained")
for solver, style in solvers.items():
    ax.plot(ranks, errors[solver], label=solver, ms=6, **style)
    ax.plot(
        chosen[solver].rank_,
        chosen[solver].error_estimate_,
        ls="none",
        ms=12,
        mfc="none",
        mew=1.5,
        **style,
    )
ax.plot([], [], "o", color="0.3", ms=12, mfc="none", mew=1.5, label='rank="auto"')
ax.axhline(noise, color="0.5", ls="--", lw=1)
ax.annotate("noise of the entries", (16, noise), color="0.4", ha="right", va="bottom")
ax.axvline(rank, color="0.8", lw=1, zorder=0)
ax.set(xlabel="rank", ylabel="RMSE of held-out entries", ylim=(0.45, 1.25))
ax.set_xticks(ranks)
ax.legend(frameon=False, loc="upper right")
plt.show()

# %%
# Least squares needs the right rank, and beyond it soon is worse than no factors at all. A
# penalty makes that mild. With the average over factors, a rank that is too large is as
# good as the right one, so that there is nothing to search. "auto" tries ranks that
# double until the error of held-out entries no longer falls. Its errors are lower than
# those of the search, as it holds out fewer entries: 5 % or 10 %, where three folds hold out
# a third.
#
# :class:`~sklearn_rnla.MatrixCompleter` may be searched as well. Its samples are rows, so
# that the folds are of rows that `fit` has not seen: `score` hides a fifth of the entries of
# each, and predicts these from the rest.

table = np.where(known, values, np.nan)
search = GridSearchCV(
    MatrixCompleter(solver="als", random_state=0), {"rank": [1, 2, 5, 8]}, cv=3
).fit(table)
for parameters, score in zip(
    search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
):
    print(f"rank {parameters['rank']}: R2 {score:.2f}")
filled = search.best_estimator_.transform(table)
error = np.sqrt(np.mean((filled - truth)[~known] ** 2))
print(f"error of what was filled in, as against the truth without noise: {error:.2f}")
