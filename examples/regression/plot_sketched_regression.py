"""
Least squares where the normal equations fail
=============================================

A polynomial of high degree, fitted to many measurements, is an ill-conditioned least
squares problem. Normal equations are the fastest way to solve it, and lose the
coefficients; orthogonal factorisations keep them, and are slow.
:class:`~sklearn_rnla.SketchedRidge` keeps them too, at a price between the two.
"""

# %%
# There are 20 000 measurements, and the features are the powers of x up to degree d. Each
# degree makes the problem harder: the condition number of the features grows tenfold
# with about every third degree.

import warnings
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import scipy.linalg
from sklearn.linear_model import Ridge

from sklearn_rnla import SketchedRidge

# Ridge says so where its matrix is singular to rounding; here, the picture does.
warnings.simplefilter("ignore", scipy.linalg.LinAlgWarning)

rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, 20_000)


def solve_gelsd(X, y):
    """Return the coefficients by a singular value decomposition, LAPACK's gelsd."""
    return scipy.linalg.lstsq(X, y)[0]


def solve_cholesky(X, y):
    """Return the coefficients by the normal equations."""
    return Ridge(0, solver="cholesky", fit_intercept=False).fit(X, y).coef_


def solve_sketched(X, y):
    """Return the coefficients by a sketch, and passes over the data."""
    return SketchedRidge(0, fit_intercept=False, random_state=0).fit(X, y).coef_


solvers = {
    "gelsd": (solve_gelsd, {"color": "C3", "marker": "s"}),
    "Ridge, cholesky": (solve_cholesky, {"color": "C1", "marker": "^"}),
    "SketchedRidge": (solve_sketched, {"color": "C0", "marker": "o"}),
}

# %%
# So that the error is known, the measurements are a polynomial with known coefficients,
# without noise: what a solver does not find is its own fault.

degrees = [4, 8, 12, 16, 20, 24]
errors = {name: [] for name in solvers}
conditions = []
for degree in degrees:
    X = np.vander(x, degree + 1)
    true_coef = rng.standard_normal(degree + 1)
    y = X @ true_coef
    model = SketchedRidge(0, fit_intercept=False, random_state=0).fit(X, y)
    conditions.append(model.condition_)
    for name, (solve, _) in solvers.items():
        error = np.linalg.norm(solve(X, y) - true_coef) / np.linalg.norm(true_coef)
        errors[name].append(error)

for degree, condition in zip(degrees, conditions, strict=True):
    print(f"degree {degree}: condition {condition:.0e}")

# %%
# The error of the normal equations grows with the square of the condition number. Beyond
# about 1e8, the square root of what float64 resolves, no digit is left.
#
# A polynomial has few features. Time is another matter with more of them: here, 120 columns
# of the same condition, in random directions.

n_features = 120
spectrum = np.logspace(0, -8, n_features)
Q = np.linalg.qr(rng.standard_normal((n_features, n_features)))[0]
wide = (rng.standard_normal((40_000, n_features)) * spectrum) @ Q
true_coef = rng.standard_normal(n_features)
target = wide @ true_coef
seconds, lost = {}, {}
for name, (solve, _) in solvers.items():
    start = perf_counter()
    coef = solve(wide, target)
    seconds[name] = perf_counter() - start
    lost[name] = np.linalg.norm(coef - true_coef) / np.linalg.norm(true_coef)

fig, (left, right) = plt.subplots(
    1, 2, figsize=(10, 4), layout="constrained", width_ratios=[3, 2]
)
for name, (_, style) in solvers.items():
    left.loglog(conditions, errors[name], label=name, ms=5, **style)
left.axhline(1, color="0.6", lw=0.8)
left.annotate("no digit right", (conditions[0], 1.3), color="0.4", va="bottom")
left.set(
    xlabel="condition number, as SketchedRidge tells it",
    ylabel="relative error of the coefficients",
    ylim=(1e-17, 1e3),
    title="What is lost: polynomials of degree 4 to 24",
)
left.legend(loc="lower right")
colors = [style["color"] for _, style in solvers.values()]
bars = right.barh(list(seconds), list(seconds.values()), color=colors)
labels = [f"{seconds[name]:.2f} s, error {lost[name]:.0e}" for name in solvers]
right.bar_label(bars, labels, padding=3)
right.margins(x=0.7)
right.invert_yaxis()
right.set(xlabel="seconds", title="What it costs: 40 000 x 120, condition 1e8")
plt.show()

# %%
# :class:`~sklearn.linear_model.Ridge` is the fastest, and its coefficients are wrong in
# every digit on this problem. What the additional time of ``SketchedRidge`` buys is the
# accuracy of gelsd, in less than half the time of gelsd. Where the condition number is far
# below 1e8, the normal equations are accurate too: stay with them.
#
# ``error_estimate_`` says how far the fitted values are from the best ones, relative to the
# targets, rounding included; and ``condition_`` what is to be expected of the coefficients.

print(f"error of the fitted values: {model.error_estimate_:.0e}")
fitted = np.linalg.norm(y - model.predict(X)) / np.linalg.norm(y)
print(f"in truth: {fitted:.0e}")
