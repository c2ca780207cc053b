"""
A photo from 30 % of its pixels
===============================

The rows of a photo are a matrix, and one of low rank describes it roughly.
:class:`~sklearn_rnla.MatrixCompleter` restores it from some of the pixels. The solvers
differ in what they do with a rank that the pixels do not determine.
"""

# %%
# Every second pixel of a photo, in grey. Of these, 30 % are known; the others are NaN.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

from sklearn_rnla import MatrixCompleter

photo = load_sample_image("china.jpg")[::2, ::2].mean(axis=2) / 255
known = np.random.default_rng(0).random(photo.shape) < 0.3
pixels = np.where(known, photo, np.nan)


def psnr(image):
    """Return the peak signal-to-noise ratio of an image, in decibels."""
    return -10 * np.log10(np.mean((np.clip(image, 0, 1) - photo) ** 2))


# %%
# Four solvers. "iterative_svd" fits the known pixels by a matrix of the given rank, and
# nothing else. "als" and "gibbs" have a penalty and a prior, made from the data.
# "softimpute" has a penalty on the singular values, and is asked for no rank.

completers = {
    "iterative_svd, rank 4": MatrixCompleter(4, solver="iterative_svd", tol=1e-3),
    "iterative_svd, rank 16": MatrixCompleter(16, solver="iterative_svd", tol=1e-3),
    "softimpute": MatrixCompleter(solver="softimpute", alpha=0.03, tol=1e-2),
    "als, rank 16": MatrixCompleter(16, solver="als"),
    "gibbs, rank 4": MatrixCompleter(4, solver="gibbs"),
    "gibbs, rank 16": MatrixCompleter(16, solver="gibbs"),
}
images = {"original": photo, "the 30 % that are known": np.where(known, photo, 1)}
for name, completer in completers.items():
    images[name] = completer.set_params(random_state=0).fit_transform(pixels)

fig, axes = plt.subplots(2, 4, figsize=(12, 4.6), layout="constrained")
for ax, (name, image) in zip(axes.flat, images.items(), strict=True):
    ax.imshow(image, cmap="gray", vmin=0, vmax=1)
    quality = f"\n{psnr(image):.1f} dB" if name in completers else "\n"
    ax.set_title(name + quality, fontsize="medium")
    ax.set(xticks=[], yticks=[])
plt.show()

# %%
# Without a penalty, the rank is to be chosen: 16 fits the known pixels better than 4 does,
# and the others much worse. With a prior, a larger rank than the pixels determine does
# no harm. `held_out_error_` says which is which, from pixels that were held out for a
# while: it needs no original. Errors are relative to the spread of a column.

spread = np.nanstd(pixels, axis=0)
for name, completer in completers.items():
    error = ((images[name] - photo) / spread)[~known]
    truth, estimate = np.sqrt(np.mean(error**2)), completer.held_out_error_
    print(f"{name:23} relative error {truth:.2f}, estimated {estimate:.2f}")
