"""
A Gaussian process on a year of hours
=====================================

A year of hourly values is 8760 samples. The exact Gaussian process would factor a matrix
of 8760 x 8760 for each step of its optimiser; on landmarks it is two passes over the
rows. Here a load has a season, a daily profile that changes slowly, weather that comes
and goes within days, and noise. Two weeks are missing.
"""

# %%
# The data
# --------
# Time is in days. The kernel says what the data are made of: a smooth trend, a period of
# one day whose shape drifts over months, and weather with a length scale of days.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    ExpSineSquared,
    WhiteKernel,
)

from sklearn_rnla import NystroemGaussianProcessRegressor

rng = np.random.default_rng(0)
days = np.arange(8760) / 24
kernel_of_weather = np.exp(-0.5 * (np.arange(-200, 201) / 24 / 1.5) ** 2)
weather = np.convolve(rng.normal(size=len(days)), kernel_of_weather, mode="same")
weather *= 0.6 / weather.std()
profile = np.sin(2 * np.pi * days) + 0.4 * np.cos(4 * np.pi * days)
season = 2 * np.cos(2 * np.pi * days / 365)
load = (
    season + (1 + 0.3 * season / 2) * profile + weather + 0.2 * rng.normal(size=len(days))
)

missing = (days > 260) & (days < 274)
scattered = rng.random(len(days)) < 0.2
known = ~missing & ~scattered

# %%
# Fit
# ---
# Bounds keep each part at its own scale. ``normalize_y`` takes the mean from the values
# and divides by their standard deviation.

kernel = (
    ConstantKernel(1.0) * RBF(60.0, (20.0, 200.0))
    + ConstantKernel(0.5)
    * ExpSineSquared(1.0, 1.0, periodicity_bounds="fixed")
    * RBF(90.0, (20.0, 1000.0))
    + ConstantKernel(0.2) * RBF(3.0, (0.5, 20.0))
    + WhiteKernel(0.05)
)
gpr = NystroemGaussianProcessRegressor(
    kernel, n_landmarks=300, normalize_y=True, random_state=0
)
gpr.fit(days[known, np.newaxis], load[known])
print(gpr.kernel_)
print(f"missed variance over noise {gpr.error_estimate_:.1e}")
print(f"{gpr.n_iter_} evaluations on all samples")

# %%
# How far to trust it
# -------------------
# The hours left out within the year are near others: 95 % intervals should hold 95 % of
# them, and be narrow. In the gap they widen to what season and profile alone can say; a
# gap of two weeks is few spells of weather, so that their share varies.

mean, std = gpr.predict(days[:, np.newaxis], return_std=True)
inside = np.abs(load - mean) < 1.96 * std
for name, part in [("scattered hours", scattered & ~missing), ("gap", missing)]:
    width = 3.92 * std[part].mean()
    print(f"{name}: {inside[part].mean():.1%} inside, mean width {width:.2f}")


def show(ax, first, last):
    """Draw some days: the hours, the posterior mean and its 95 % interval."""
    part = (days >= first) & (days < last)
    ax.fill_between(
        days[part],
        (mean - 1.96 * std)[part],
        (mean + 1.96 * std)[part],
        color="C0",
        alpha=0.25,
        lw=0,
        label="95 % interval",
    )
    ax.plot(days[part], mean[part], color="C0", label="mean")
    seen, unseen = part & known, part & ~known
    ax.plot(days[seen], load[seen], ".", ms=4, color="0.3", label="observed hours")
    ax.plot(days[unseen], load[unseen], ".", ms=4, color="C1", label="hours left out")
    ax.set(xlabel="day", xlim=(first, last))


fig, axes = plt.subplots(2, 2, figsize=(10, 6.4), layout="constrained")
top, bottom = axes
show(top[0], 14, 21)
show(top[1], 196, 203)
top[0].set(title="A week in January: a large daily profile", ylabel="load")
top[1].set(title="A week in July: a small one")
grid = bottom[0].get_gridspec()
for ax in bottom:
    ax.remove()
gap = fig.add_subplot(grid[1, :])
show(gap, 253, 281)
gap.set(title="Two weeks without data", ylabel="load")
fig.legend(*gap.get_legend_handles_labels(), loc="outside lower center", ncols=4)
plt.show()

# %%
# The whole year, as daily means: the season, and the weather that comes and goes on top.

fig, ax = plt.subplots(figsize=(10, 3.2), layout="constrained")
daily = mean.reshape(-1, 24).mean(axis=1)
observed = np.where(known, load, np.nan).reshape(-1, 24)
enough = np.sum(np.isfinite(observed), axis=1) > 12
ax.plot(np.arange(365), daily, color="C0", label="posterior mean of the day")
ax.plot(
    np.flatnonzero(enough),
    np.nanmean(observed[enough], axis=1),
    ".",
    ms=4,
    color="0.3",
    label="mean of the observed hours",
)
ax.axvspan(260, 274, color="C1", alpha=0.2, lw=0, label="without data")
ax.set(
    xlabel="day",
    ylabel="load",
    title="The year, day by day",
    xlim=(0, 365),
    ylim=(-3.2, 4.6),
)
ax.legend(ncols=3, loc="upper left")
plt.show()
