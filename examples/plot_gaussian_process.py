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

shown = (days > 250) & (days < 284)
fig, (top, bottom) = plt.subplots(2, figsize=(9, 6), layout="constrained")
top.plot(days[known], load[known], ".", ms=1, color="0.6")
top.plot(days, mean, lw=0.4, color="C0")
top.set(xlabel="day", ylabel="load", title="A year, and its posterior mean")
bottom.plot(
    days[shown & known], load[shown & known], ".", ms=3, color="0.3", label="observed"
)
bottom.plot(days[missing], load[missing], ".", ms=3, color="C3", label="held out")
bottom.plot(days[shown], mean[shown], color="C0", lw=1, label="mean")
bottom.fill_between(
    days[shown],
    (mean - 1.96 * std)[shown],
    (mean + 1.96 * std)[shown],
    color="C0",
    alpha=0.25,
    lw=0,
    label="95 % interval",
)
bottom.set(xlabel="day", ylabel="load", title="Two weeks without data", ylim=(-3.5, 3.2))
bottom.legend(ncols=4, fontsize=8, loc="upper center")
plt.show()
