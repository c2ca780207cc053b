"""
The rank of a completion
========================

How many factors do the entries support? A grid search over the rank answers that, as
cross-validation hides entries. So does ``rank="auto"``, in one fit. And with a penalty or
a prior made from the data, the answer matters little.
"""

# %%
# A matrix of rank 5 and noise, of which a quarter of the entries is known: as pairs of row
# and column, and values.

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
missing = np.argwhere(~known)

# %%
# A grid search for each of three solvers, with the scores of held-out entries.
# "iterative_svd" is least squares; "als" has a penalty that it estimates from the noise;
# "gibbs" averages over all factors that the entries allow. Printed is the error of the
# missing entries, as against the matrix without noise.

ranks = [1, 2, 3, 4, 5, 6, 8, 16]
solvers = {
    "iterative_svd": {"color": "C3", "marker": "s"},
    "als": {"color": "C0", "marker": "o"},
    "gibbs": {"color": "C1", "marker": "D"},
}
folds = KFold(3, shuffle=True, random_state=0)
searches, automatic = {}, {}
for solver in solvers:
    # The search holds out entries by itself.
    model = MatrixFactorizationRegressor(
        solver=solver, tol=1e-3, validation_fraction=0, random_state=0
    )
    # More than six factors by least squares are far off, and slow.
    grid = {"rank": ranks[:6] if solver == "iterative_svd" else ranks}
    search = GridSearchCV(model, grid, cv=folds, scoring="neg_root_mean_squared_error")
    searches[solver] = search.fit(pairs, y)
    automatic[solver] = model.set_params(rank="auto", validation_fraction=0.1).fit(pairs, y)
    for name, found in (("search", search.best_estimator_), ("auto", model)):
        error = np.sqrt(np.mean((found.predict(missing) - truth[~known]) ** 2))
        print(f"{solver:13}  {name:6}  rank {found.rank_:2}  error {error:.3f}")

fig, ax = plt.subplots(figsize=(7, 4.4), layout="constrained")
for solver, style in solvers.items():
    found = searches[solver].cv_results_
    tried = found["param_rank"].astype(int)
    errors = -found["mean_test_score"]
    ax.plot(tried, errors, label=solver, ms=6, **style)
    auto = automatic[solver].rank_
    error = np.interp(auto, tried, errors)
    ax.plot(auto, error, "o", ms=14, mfc="none", mec=style["color"], mew=1.5)
ax.plot([], [], "o", color="0.3", ms=12, mfc="none", mew=1.5, label='rank="auto"')
ax.axhline(noise, color="0.5", ls="--", lw=1)
ax.annotate("noise of the entries", (16, noise), color="0.4", ha="right", va="bottom")
ax.axvline(rank, color="0.8", lw=1, zorder=0)
ax.set(
    xlabel="rank",
    ylabel="RMSE of held-out entries",
    ylim=(0.45, 1.25),
    title="A matrix of rank 5 and noise, a quarter known",
)
ax.set_xticks(ranks)
ax.legend(loc="upper right")
plt.show()

# %%
# Least squares needs the right rank: one factor more, and the error rises steeply. The
# penalty of "als" makes that mild, and the average over factors has the least error
# whatever the rank; ranks that are too large cost it little. "auto" tries ranks that
# double, from 1, or from 4 with "gibbs", until the error of held-out entries no longer
# falls, and then some between, in less work than a search. With "gibbs" it takes the least
# rank that is nearly as good as the best.
#
# :class:`~sklearn_rnla.MatrixCompleter` may be searched as well. Its samples are rows, so
# that folds are of rows that `fit` has not seen: `score` hides a fifth of the entries of
# each, and predicts these from the rest.

table = np.where(known, values, np.nan)
search = GridSearchCV(
    MatrixCompleter(solver="als", random_state=0), {"rank": [1, 2, 5, 8]}, cv=3
).fit(table)
for parameters, score in zip(
    search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
):
    print(f"rank {parameters['rank']}: R2 {score:.2f}")
