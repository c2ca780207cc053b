"""
Kernel ridge regression on landmarks
====================================

:class:`~sklearn_rnla.NystroemRidge` solves kernel ridge regression with the kernel at m
landmarks instead of all n samples. This example reconstructs a surface from noisy samples,
lets the estimator choose the penalty, and shows how many landmarks it takes to be as good
as scikit-learn's :class:`~sklearn.kernel_ridge.KernelRidge`.
"""

# %%
# The height of a surface is measured at 2000 places. Most of them lie in three towns; the
# error that counts is that on the whole map.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.kernel_ridge import KernelRidge

from sklearn_rnla import NystroemRidge

rng = np.random.default_rng(0)
towns = np.array([[-0.6, -0.4], [0.1, 0.6], [0.6, -0.2]])
in_town = towns[rng.integers(3, size=1600)] + 0.05 * rng.standard_normal((1600, 2))
X = np.concatenate([in_town, rng.uniform(-1, 1, size=(400, 2))])


def height(X):
    """Return the height of the surface."""
    x, y = X.T
    return np.sin(4 * x + y) + np.cos(5 * y - 2 * x) + 2 * np.exp(-10 * (x**2 + y**2))


noise = 0.3
target = height(X) + noise * rng.standard_normal(len(X))

ticks = np.linspace(-1, 1, 60)
grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
truth = height(grid)


def map_error(model):
    """Return the root mean squared error on the map."""
    return np.sqrt(np.mean((model.predict(grid) - truth) ** 2))


# %%
# Given several ``alphas``, the estimator takes the one of least leave-one-out error. All
# come from one eigendecomposition, so that the search costs little more than one fit. On
# the right is what each of them would have led to.

gamma = 6.0
alphas = np.logspace(-5, 2, 15)


def fit(alpha=1.0, **parameters):
    """Fit the regression on landmarks."""
    parameters = {"n_landmarks": 160, "random_state": 0} | parameters
    return NystroemRidge(alpha, gamma=gamma, **parameters).fit(X, target)


ridge = fit(alphas=alphas)
errors = [map_error(fit(alpha)) for alpha in alphas]
print(f"alpha: {ridge.alpha_:.1e}")
print(f"error of the kernel: {ridge.error_estimate_:.1e}")

fig, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
limits = {"vmin": -3, "vmax": 3, "cmap": "cividis"}
axes[0].scatter(*X.T, c=target, s=4, **limits)
axes[0].set(title="A surface, measured at 2000 places")
surface = axes[1].imshow(
    ridge.predict(grid).reshape(60, 60), extent=(-1, 1, -1, 1), origin="lower", **limits
)
axes[1].plot(*ridge.components_.T, "o", ms=3, mfc="none", mec="w", mew=0.7)
axes[1].set(title=f"Prediction from {len(ridge.components_)} landmarks")
fig.colorbar(surface, ax=axes[1], label="height")
for ax in axes[:2]:
    ax.set(xlim=(-1, 1), ylim=(-1, 1), xticks=[], yticks=[], aspect="equal")
axes[2].loglog(alphas, errors, "o-", color="C0", ms=4)
axes[2].axvline(ridge.alpha_, color="C1", ls="--")
axes[2].annotate(
    "chosen ",
    (ridge.alpha_, 0.95),
    xycoords=("data", "axes fraction"),
    color="C1",
    ha="right",
    va="top",
)
axes[2].set(xlabel="alpha", ylabel="RMSE on the map", title="Error for each penalty")
plt.show()

# %%
# KernelRidge needs the kernel of all pairs of samples. With ``exact=True`` NystroemRidge
# has the same solution by conjugate gradients, and keeps n x n_landmarks numbers instead
# of n x n. KernelRidge has no intercept.

alpha = ridge.alpha_
exact = KernelRidge(alpha=alpha, kernel="rbf", gamma=gamma).fit(X, target)
every = fit(alpha, exact=True, fit_intercept=False, tol=1e-9)
difference = np.abs(every.predict(grid) - exact.predict(grid)).max()
print(f"largest difference from KernelRidge: {difference:.0e}")
print(f"iterations: {every.n_iter_}")

# %%
# With landmarks the solution is another one, and as good once they are enough. How many
# that is depends on how they are chosen: uniformly drawn ones lie in the towns, and the
# rest of the map is left with few.

sizes = [10, 20, 40, 80, 160, 320]
styles = {
    "uniform": {"color": "C3", "marker": "s"},
    "rpcholesky": {"color": "C0", "marker": "o"},
}
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for landmarks, style in styles.items():
    errors = [
        [
            map_error(fit(alpha, n_landmarks=k, landmarks=landmarks, random_state=seed))
            for seed in range(9)
        ]
        for k in sizes
    ]
    ax.loglog(sizes, np.median(errors, axis=1), label=landmarks, ms=5, **style)
    ax.fill_between(
        sizes, *np.quantile(errors, [0, 1], axis=1), color=style["color"], alpha=0.2, lw=0
    )
ax.axhline(map_error(exact), color="0.3", ls=":", label="KernelRidge")
ax.set(
    xlabel="landmarks",
    ylabel="RMSE on the map",
    title="NystroemRidge: median and range of 9 seeds",
)
ax.set_xticks(sizes, labels=sizes)
ax.set_yticks([0.1, 0.2, 0.5, 1], labels=["0.1", "0.2", "0.5", "1"])
ax.minorticks_off()
ax.legend()
plt.show()
