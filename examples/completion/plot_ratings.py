"""
Ratings by users of items
=========================

Some users have rated some items, and the other ratings are wanted.
:class:`~sklearn_rnla.MatrixFactorizationRegressor` takes them as a table of pairs, each a
sample. :class:`~sklearn_rnla.MatrixCompleter` takes them as a sparse matrix, each user a
sample, and folds in users that come later.
"""

# %%
# Generated ratings, in half stars from 0.5 to 5. A user is more or less strict, an item
# more or less good, and three factors are the taste of users for kinds of items. Users
# have rated from 5 to some 80 of the items.

import matplotlib.pyplot as plt
import numpy as np
import scipy.sparse as sp
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from sklearn_rnla import MatrixCompleter, MatrixFactorizationRegressor

rng = np.random.default_rng(0)
n_users, n_items, n_factors = 500, 150, 3
taste = rng.standard_normal((n_users, n_factors))
kind = rng.standard_normal((n_items, n_factors))
user_bias = 0.4 * rng.standard_normal(n_users)
item_bias = 0.5 * rng.standard_normal(n_items)
liking = 3.3 + user_bias[:, np.newaxis] + item_bias + 0.4 * taste @ kind.T
stars = liking + 0.5 * rng.standard_normal(liking.shape)
stars = np.clip(np.round(2 * stars) / 2, 0.5, 5)
activity = np.exp(rng.uniform(np.log(5), np.log(80), n_users)) / n_items
users, items = np.nonzero(rng.random(liking.shape) < activity[:, np.newaxis])
pairs, ratings = np.column_stack([users, items]), stars[users, items]
print(f"{len(ratings)} ratings, {len(ratings) / stars.size:.0%} of all")

# %%
# As samples are ratings, cross-validation hides ratings. Compared are the mean of all,
# biases of users and items by a ridge regression on their indicators, and biases and
# factors.

models = {
    "mean": DummyRegressor(),
    "biases": make_pipeline(OneHotEncoder(handle_unknown="ignore"), Ridge()),
    "biases and factors": MatrixFactorizationRegressor(rank=6, clip=True, random_state=0),
}
folds = KFold(5, shuffle=True, random_state=0)
for name, model in models.items():
    scores = cross_val_score(
        model, pairs, ratings, cv=folds, scoring="neg_root_mean_squared_error"
    )
    print(f"{name:18} RMSE {-scores.mean():.3f}")

# %%
# The factors are sampled from their distribution given the ratings, so that each prediction
# has a standard deviation. A tenth of the users is left out of the fit: they are cold. For
# them the model expects what the average user thinks of the item, and says how far off that
# may be.

cold = users >= 450
hidden = rng.random(len(users)) < 0.1
test = cold | hidden
model = MatrixFactorizationRegressor(rank=6, clip=True, random_state=0)
model.fit(pairs[~test], ratings[~test])
print(f"error_estimate_: {model.error_estimate_:.3f}")
for kind_of_user, which in (("known users", hidden & ~cold), ("cold users", cold)):
    mean, std = model.predict(pairs[which], return_std=True)
    error = ratings[which] - mean
    inside = np.mean(np.abs(error) < 1.645 * std)
    print(
        f"{kind_of_user}: RMSE {np.sqrt(np.mean(error**2)):.3f}, standard deviation "
        f"{std.mean():.3f}, {inside:.0%} within the 90 % interval"
    )

# %%
# The five items that a user has not rated and would like best. As the ratings are
# generated, it is known how they are liked in truth.

best, scores = model.recommend(np.arange(450), n=5)
print("for user 7:", best[7], scores[7].round(1))
popular = np.argsort(-model.column_biases_)[:5]
some = np.arange(450)[:, np.newaxis]
print(f"liking of what is recommended:    {liking[some, best].mean():.2f}")
print(f"of the items with largest biases: {liking[some, popular].mean():.2f}")
print(f"of all items:                     {liking[:450].mean():.2f}")

# %%
# As a sparse matrix, of which the stored entries are the ratings. The last 50 users are
# not in `fit`: some of their ratings are folded in, each user by a small ridge regression,
# and the others are predicted.

table = sp.csr_array((ratings[~test], pairs[~test].T), shape=stars.shape)
completer = MatrixCompleter(rank=6, random_state=0).fit(table[:450])

counts = [0, 1, 2, 4, 8, 16, 32, 64]
errors = []
order = rng.permuted(np.tile(np.arange(n_items), (50, 1)), axis=1)
for count in counts:
    rated = order[:, :count]
    new = np.arange(50)[:, np.newaxis] * np.ones_like(rated)
    some = sp.coo_array(
        (stars[450 + new, rated].ravel(), (new.ravel(), rated.ravel())), shape=(50, n_items)
    ).tocsr()
    biases, factors = completer.fold_in(some)
    predicted = biases[:, np.newaxis] + factors @ completer.column_factors_.T
    predicted += completer.offset_ + completer.column_biases_
    left = np.ones((50, n_items), dtype=bool)
    left[new, rated] = False
    errors.append(np.sqrt(np.mean((predicted - stars[450:])[left] ** 2)))

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
n_rated = np.bincount(pairs[~test, 0], minlength=n_users)
_, std = model.predict(pairs[test], return_std=True)
number = n_rated[pairs[test, 0]]
left.plot(number, std, ".", color="C0", ms=3, alpha=0.4)
left.set(
    xlabel="ratings of the user in fit",
    ylabel="standard deviation of a prediction",
    title="Known users: how sure the model is",
    ylim=(0, None),
)
right.plot(errors, "o-", color="C1")
right.axhline(np.sqrt(np.mean((liking - stars)[450:] ** 2)), color="0.5", ls="--", lw=1)
right.annotate("noise of the ratings", (0, 0.5), color="0.4", va="top")
right.set_xticks(range(len(counts)), counts)
right.set(
    xlabel="ratings folded in",
    ylabel="RMSE of the others",
    title="New users: error of folded-in rows",
    ylim=(0, None),
)
plt.show()

# %%
# The more a user has rated, the surer is the model, and the noise of a rating is left. A
# new user with no rating gets the average; a few ratings are enough to tell how strict
# they are, and some more to tell their taste.
