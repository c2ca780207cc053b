"""
Quickstart: PCA in a pipeline, and next to scikit-learn's
=========================================================

:class:`~sklearn_rnla.RandomizedPCA` takes the place of scikit-learn's
:class:`~sklearn.decomposition.PCA`: first in a pipeline under a grid search, then on a
matrix that is large enough for the time to matter. Run it with
``python examples/quickstart.py``. It prints two results and, where matplotlib is installed,
saves a picture, ``quickstart.png``.
"""

# %%
# A grid search over the number of components and whitening, on images of handwritten
# digits. Nothing but the name of the class differs from a pipeline with `PCA`.

from time import perf_counter

import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_rnla import RandomizedPCA

X, y = load_digits(return_X_y=True)
search = GridSearchCV(
    make_pipeline(RandomizedPCA(random_state=0), LogisticRegression(max_iter=5000)),
    {"randomizedpca__n_components": [10, 20, 30], "randomizedpca__whiten": [True, False]},
    cv=3,
)
search.fit(X / 16, y)
print(f"digits: {search.best_score_:.1%} correct with {search.best_params_}\n")

# %%
# Twenty components of 20 000 rows. All three methods keep the same share of the variance.
# ``error_estimate_`` says how far the components are from the best ones: here 1e-3 would
# be a Frobenius error 0.1 % above the least possible.

rng = np.random.default_rng(0)
spectrum = 1 / np.arange(1, 501)
large = rng.standard_normal((20_000, 500), dtype=np.float32)
large = (
    large
    * spectrum.astype(np.float32)
    @ np.linalg.qr(rng.standard_normal((500, 500), dtype=np.float32))[0].astype(np.float32)
)

print(f"{'20000 x 500, 20 components':34}{'fit':>9}{'variance kept':>16}{'error':>10}")
for pca in (
    PCA(20, svd_solver="randomized", random_state=0),
    PCA(20, svd_solver="covariance_eigh"),
    RandomizedPCA(20, random_state=0),
):
    times = []
    for _ in range(5):
        start = perf_counter()
        pca.fit(large)
        times.append(perf_counter() - start)
    name = type(pca).__name__
    if name == "PCA":
        name += f" ({pca.svd_solver})"
    error = getattr(pca, "error_estimate_", None)
    print(
        f"{name:34}{1e3 * np.median(times):6.0f} ms"
        f"{pca.explained_variance_ratio_.sum():16.6f}"
        f"{'unknown' if error is None else f'{error:.0e}':>10}"
    )

# %%
# The digits on a plane: 64 pixels become two numbers, and most digits stay together.

try:
    import matplotlib as mpl
except ImportError:
    print("\nInstall matplotlib for the picture.")
else:
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    points = RandomizedPCA(2).fit_transform(X)
    fig, ax = plt.subplots(figsize=(6, 5), layout="constrained")
    dots = ax.scatter(*points.T, c=y, cmap="tab10", s=8)
    ax.legend(
        *dots.legend_elements(), title="digit", loc="center left", bbox_to_anchor=(1, 0.5)
    )
    ax.set(
        xlabel="first principal component",
        ylabel="second principal component",
        title="Handwritten digits: 64 pixels on a plane",
    )
    fig.savefig("quickstart.png", dpi=120)
    print("\nsaved quickstart.png")
