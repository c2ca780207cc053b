"""
Columns that stand for all others
=================================

:class:`~sklearn_rnla.CURSelector` keeps a few columns of a matrix, and restores the others
from them by least squares. Here they are pixels, then genes with names, and then a step of
a pipeline that is compared with other ways to have few features.
"""

# %%
# Sixteen pixels of handwritten digits. All 64 are combinations of them, up to
# ``error_estimate_``: the Frobenius norm of what is missed, relative to that of the images.
# A tolerance for that error may be asked for, in the place of a number.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_rnla import CURSelector

digits, label = load_digits(return_X_y=True)
digits = digits / 16

selector = CURSelector(n_components=16, random_state=0).fit(digits)
restored = selector.inverse_transform(selector.transform(digits))
print(f"error of 16 pixels: {selector.error_estimate_:.2f}")
for tol in (0.5, 0.2, 0.1):
    n_pixels = CURSelector(tol=tol, random_state=0).fit(digits).n_components_
    print(f"pixels for an error of {tol}: {n_pixels}")

fig = plt.figure(figsize=(11, 3.1), layout="constrained")
left, right = fig.subfigures(1, 2, width_ratios=[1, 3.2])
ax = left.subplots()
ax.imshow(digits.mean(axis=0).reshape(8, 8), cmap="Greys", vmin=0, vmax=1.4)
rows, columns = np.divmod(selector.column_indices_, 8)
ax.plot(columns, rows, "o", ms=13, color="C1")
for i, place in enumerate(zip(columns, rows, strict=True), start=1):
    ax.annotate(i, place, ha="center", va="center", color="w", fontsize=7)
ax.set(title="16 pixels, numbered as chosen", xticks=[], yticks=[])
axes = right.subplots(2, 8)
for name, images, line in zip(
    ("original", "restored"), (digits, restored), axes, strict=True
):
    for i, ax in enumerate(line):
        ax.imshow(images[i].reshape(8, 8), cmap="Greys", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
    line[0].set_ylabel(name)
right.suptitle("Digits of 64 pixels, and restored from those 16")
plt.show()

# %%
# A table with names, as of gene expression. Each of 120 columns follows one of six
# factors, and a little noise; the twenty of a cluster say nearly the same. The first six
# columns chosen are one of each cluster, whatever the order of the columns. Scores of
# each column alone cannot know that: the best six by variance are copies.

rng = np.random.default_rng(0)
n_samples, n_clusters, size = 400, 6, 20
factors = rng.standard_normal((n_samples, n_clusters))
loadings = rng.uniform(0.7, 1.0, size=(n_clusters, size))
loadings *= np.array([1.6, 1.0, 1.0, 0.9, 0.9, 0.8])[:, np.newaxis]
table = (factors[:, :, np.newaxis] * loadings).reshape(n_samples, -1)
table += 0.1 * rng.standard_normal(table.shape)
cluster = np.repeat(list("ABCDEF"), size)
names = [f"gene_{letter}{i % size:02}" for i, letter in enumerate(cluster)]
genes = pd.DataFrame(table, columns=names).sample(frac=1, axis=1, random_state=0)

selector = CURSelector(n_components=n_clusters, random_state=0)
selector.set_output(transform="pandas").fit(genes)
print("chosen:", ", ".join(genes.columns[selector.column_indices_]))
print("of largest variance:", ", ".join(genes.var().nlargest(n_clusters).index))
print(f"error: {selector.error_estimate_:.2f}")
selector.transform(genes).head(3).round(2)

# %%
# With ``n_rows`` samples are selected as well, and ``row_weights_`` says how many each
# stands for: the Gram matrix of the weighted rows is the nearest to that of all.

selector = CURSelector(n_components=n_clusters, n_rows=40, random_state=0).fit(genes)
R, w = selector.R_, selector.row_weights_
gram = genes.T.to_numpy() @ genes.to_numpy()
uniform = R.T @ R * (np.sum(gram * (R.T @ R)) / np.sum((R.T @ R) ** 2))
for kind, of_rows in (("weighted", (R.T * w) @ R), ("each alike", uniform)):
    print(f"{kind}: {np.linalg.norm(of_rows - gram) / np.linalg.norm(gram):.2f}")

# %%
# In a pipeline: the accuracy of a logistic regression on digits, of k features chosen in
# four ways. :class:`~sklearn_rnla.CURSelector` spans the images; "supervised" spans the
# classes as well; `SelectKBest` takes pixels by their own score; the components of `PCA`
# are mixtures of all pixels. Each is fitted within the folds of the cross-validation.

sizes = [4, 8, 12, 16, 24]
kinds = {
    "PCA (mixtures)": (PCA(random_state=0), "n_components"),
    "CURSelector, supervised": (
        CURSelector(method="supervised", random_state=0),
        "n_components",
    ),
    "CURSelector": (CURSelector(random_state=0), "n_components"),
    "SelectKBest": (SelectKBest(), "k"),
}
styles = {
    "PCA (mixtures)": {"color": "0.5", "marker": "x", "ls": "--"},
    "CURSelector, supervised": {"color": "C1", "marker": "D"},
    "CURSelector": {"color": "C0", "marker": "o"},
    "SelectKBest": {"color": "C3", "marker": "s"},
}
# `SelectKBest` cannot score what is constant in a fold.
pixels = digits[:, np.mean(digits > 0, axis=0) > 0.02]
fig, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
for name, (select, parameter) in kinds.items():
    pipeline = Pipeline(
        [
            ("select", select),
            ("scale", StandardScaler()),
            ("classify", LogisticRegression(max_iter=200, tol=1e-2)),
        ]
    )
    search = GridSearchCV(pipeline, {f"select__{parameter}": sizes}, cv=3, refit=False)
    scores = search.fit(pixels, label).cv_results_["mean_test_score"]
    ax.plot(sizes, scores, label=name, ms=6, **styles[name])
ax.set(
    xlabel="features",
    ylabel="accuracy, mean of 3 folds",
    title="Digits classified from a few features",
)
ax.set_xticks(sizes)
ax.legend(loc="lower right")
plt.show()

# %%
# A few mixtures of all pixels say more than as few pixels can, but every pixel is needed to
# make them. With 24 there is no difference left. Where a single pixel is as good as its
# neighbours, a score of each alone takes both. One pixel knows little of ten classes: with
# four, no choice is good.
