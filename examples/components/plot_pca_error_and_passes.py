"""
Error and passes: what ``tol`` buys
===================================

:class:`~sklearn_rnla.RandomizedPCA` reads the data in passes and stops when it estimates
that the *excess error* is below ``tol``: the Frobenius error of the components, relative to
the error of the best components there are, less one. This example compares the estimate
with the truth after each pass, on matrices whose best error is known.
"""

# %%
# Three matrices of one size, and three ways for singular values to fall. The harder case is
# the slower one: where the values that are kept barely exceed those that are not, nothing
# tells them apart quickly.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator
from sklearn.exceptions import ConvergenceWarning

from sklearn_rnla import RandomizedPCA
from sklearn_rnla.linalg import orth, projection_error

n_samples, n_features, k = 4000, 500, 20
rng = np.random.default_rng(0)
U = orth(rng.standard_normal((n_samples, n_features)))
V = orth(rng.standard_normal((n_features, n_features)))

i = np.arange(1, n_features + 1)
spectra = {
    r"fast: $s_i = 0.9^i$": 0.9**i,
    r"medium: $s_i = 1/i$": 1 / i,
    r"slow: $s_i = 1/\sqrt{i}$": 1 / np.sqrt(i),
}
matrices = {name: (U * s) @ V.T for name, s in spectra.items()}


def true_excess(A, s, components):
    """Return the excess Frobenius error of some components, the best one being known."""
    best = np.sqrt(np.sum(s[len(components) :] ** 2))
    return projection_error(A, components).frobenius / best - 1


# %%
# With ``tol=0`` the iteration makes all the passes it is allowed, and warns that it has not
# converged; so the error can be looked at after one pass, after two, and so on. Errors
# below 1e-12 are rounding and not drawn.

warnings.simplefilter("ignore", ConvergenceWarning)
n_passes = np.arange(1, 7)
settings = {"with_mean": False, "algorithm": "krylov", "random_state": 0}

fig, axes = plt.subplots(1, 3, figsize=(10, 3.6), sharey=True, layout="constrained")
for ax, (name, A) in zip(axes, matrices.items(), strict=True):
    truth, estimate = [], []
    for passes in n_passes:
        pca = RandomizedPCA(k, tol=0, max_passes=passes, **settings).fit(A)
        truth.append(true_excess(A, spectra[name], pca.components_))
        estimate.append(pca.error_estimate_)
    truth, estimate = (np.where(np.array(e) > 1e-12, e, np.nan) for e in (truth, estimate))
    ax.semilogy(n_passes, truth, "o-", label="true excess error")
    ax.semilogy(
        n_passes, estimate, "s--", mfc="none", label=r"$\mathtt{error\_estimate\_}$"
    )
    ax.axhline(1e-3, color="0.5", lw=1, ls=":", label="default tol")
    ax.set(title=name, xlabel="passes over the data", xlim=(0.7, 6.3), ylim=(1e-13, 10))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
axes[0].set_ylabel("excess error")
fig.suptitle(
    "RandomizedPCA, 20 components of 4000 x 500, by the fall of the singular values"
)
axes[2].legend(loc="lower left")
plt.show()

# %%
# The estimate is slightly above the truth, on purpose: it looks one step ahead on a sample
# of the rows, and multiplies what it finds by 1.5.
#
# So ``tol`` can be chosen by what the error is worth. Three decimals of the error are often
# far more than a picture or a classifier needs, and each further pass is a read of all the
# data.

tolerances = 10.0 ** -np.arange(1, 8)
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), sharex=True, layout="constrained")
for name, A in matrices.items():
    fits = [RandomizedPCA(k, tol=tol, **settings).fit(A) for tol in tolerances]
    truth = [true_excess(A, spectra[name], pca.components_) for pca in fits]
    left.semilogx(tolerances, [pca.n_passes_ for pca in fits], "o-", label=name)
    right.loglog(tolerances, truth, "o-", label=name)
right.loglog(tolerances, tolerances, color="0.5", lw=1, ls=":", label="tol")
left.set(
    xlabel="tol",
    ylabel="passes over the data",
    ylim=(0, 8.5),
    title="What a smaller tol costs",
)
left.yaxis.set_major_locator(MaxNLocator(integer=True))
left.invert_xaxis()
left.legend(loc="upper left")
right.set(xlabel="tol", ylabel="true excess error", title="What it leaves")
right.legend()
plt.show()
