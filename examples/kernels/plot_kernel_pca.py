"""
Kernel PCA without the kernel matrix
====================================

Principal components of kernel features are those of kernel PCA. This example builds
:class:`~sklearn.decomposition.KernelPCA` from :class:`~sklearn_rnla.NystroemKernel` and
:class:`~sklearn_rnla.RandomizedPCA`, shows how many landmarks it takes, and goes back from
components to images.
"""

# %%
# The data are handwritten digits, with noise. The pipeline needs their kernel with 300
# landmarks, and `KernelPCA` that of all pairs.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import KernelPCA
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from sklearn_rnla import NystroemKernel, NystroemRidge, RandomizedPCA

X, y = load_digits(return_X_y=True)
clean, clean_test, label, label_test = train_test_split(
    X / 16, y, train_size=1200, stratify=y, random_state=0
)
rng = np.random.default_rng(0)
train = clean + 0.25 * rng.standard_normal(clean.shape)
test = clean_test + 0.25 * rng.standard_normal(clean_test.shape)
gamma, k = 0.02, 30


def make_recipe(n_landmarks, seed=0):
    """Return kernel PCA on landmarks."""
    return make_pipeline(
        NystroemKernel(gamma=gamma, n_components=n_landmarks, random_state=seed),
        RandomizedPCA(k, random_state=seed),
    )


recipe = make_recipe(300).fit(train)
exact = KernelPCA(k, kernel="rbf", gamma=gamma).fit(train)

# %%
# Digits that neither has seen, on the first two components. Signs of components are
# arbitrary, and are made equal here.

embeddings = {
    "KernelPCA of scikit-learn": exact.transform(test),
    "NystroemKernel and RandomizedPCA, 300 landmarks": recipe.transform(test),
}
reference = embeddings["KernelPCA of scikit-learn"]
fig, axes = plt.subplots(
    1, 2, figsize=(9, 4.2), layout="constrained", sharex=True, sharey=True
)
for ax, (name, Z) in zip(axes, embeddings.items(), strict=True):
    Z = Z * np.sign(np.sum(Z * reference, axis=0))
    points = ax.scatter(Z[:, 0], Z[:, 1], c=label_test, cmap="tab10", s=9)
    ax.set(title=name, xlabel="first component")
axes[0].set_ylabel("second component")
fig.legend(*points.legend_elements(), loc="outside right center", title="digit")
plt.show()

# %%
# Eigenvalues on landmarks are never larger than those of the kernel, and together they fall
# short by at most the trace error of the kernel, which ``error_estimate_`` knows. Mostly
# they fall short by much less: landmarks find the leading components first. For rbf, whose
# diagonal is one, the trace is the number of samples.

sizes = [40, 80, 160, 320, 640]
whole = exact.eigenvalues_.sum()
short, bound = [], []
for m in sizes:
    kernel, pca = make_recipe(m).fit(train)
    short.append(1 - np.sum(pca.singular_values_**2) / whole)
    bound.append(kernel.error_estimate_ * len(train) / whole)
fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
ax.loglog(sizes, bound, "k:", label="bound by error_estimate_")
ax.loglog(sizes, short, "o-", color="C0", label="what is lost")
ax.set(
    xlabel="landmarks",
    ylabel="variance lost, relative",
    title=f"Kernel PCA on landmarks: what {k} components lose",
)
ax.set_xticks(sizes, labels=sizes)
ax.minorticks_off()
ax.legend()
plt.show()

# %%
# The way back, from components to images, is a regression: of images on components. Here
# it learns clean images, so that what it returns is less noisy than what came in.

back = NystroemRidge(0.1, gamma="scale", n_landmarks=300, random_state=0)
back.fit(recipe.transform(train), clean)
restored = back.predict(recipe.transform(test))


def rmse(images):
    """Return the root mean squared error of test images."""
    return np.sqrt(np.mean((images - clean_test) ** 2))


fig, axes = plt.subplots(3, 10, figsize=(9, 3.2), layout="constrained")
for row, (name, images) in zip(
    axes,
    {"clean": clean_test, "noisy": test, "restored": restored}.items(),
    strict=True,
):
    row[0].set_ylabel(f"{name}\n{rmse(images):.2f}", rotation=0, ha="right", va="center")
    for ax, image in zip(row, images, strict=False):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
fig.suptitle("Noise removed by kernel PCA; the numbers are RMSE over all test images")
plt.show()
