"""A completed matrix: what the estimators of completion keep, and ask for entries."""

from typing import NamedTuple

import numpy as np

from ..._random import stream
from ...operators.observed import Observed
from ...operators.scaling import scale_of
from .em import GaussianRows
from .error_bounds import ErrorBounds, HeldOutErrors
from .model import LowRankModel, fold_in, predict_entries
from .neighbors import Neighbors
from .recommend import largest_entries


class Completion(NamedTuple):
    """A completed matrix, and how it came about.

    Attributes
    ----------
    model : LowRankModel
    seen : Observed
        The places of the entries it was fitted to.
    solver : str
    rank : int
    held_out : HeldOutErrors
        Errors of entries that were not seen at first.
    n_iter : int
    converged : bool
    history : ndarray
        The solver's measure of fit after each iteration.
    history_is_rms : bool
        Whether it is in the unit of the entries, not relative.
    alpha : float or None
        The penalty used, in the units of the parameter.
    filler : GaussianRows, Neighbors or None
        Of "em": what fills in rows, as the model does without.
    noise : tuple of ndarray, of shape (m,) and (n,), or None
        An entry has the variance ``noise[0][i] noise[1][j]`` about the model, in units of
        the squared scales of columns.
    determined : tuple of ndarray, of shape (m,) and (n,), or None
        Of "exact": rows and columns that have the entries to be found.
    limits : tuple of float
        The least and the largest value of the entries.
    n_unseen : int
        How many rows, and columns, at the end of the model were not in the data.
    likely : tuple of RowErrors or None
        Of all known entries, and of those held out, standardised: errors that are nearly
        those that would be had they been held out; for the distribution of rare errors.
    bounds : ErrorBounds or None
        What `held_out` says of missing entries, None before that is worked out.
    """

    model: LowRankModel
    seen: Observed
    solver: str
    rank: int
    held_out: HeldOutErrors
    n_iter: int
    converged: bool
    history: np.ndarray
    history_is_rms: bool = False
    alpha: float | None = None
    filler: GaussianRows | Neighbors | None = None
    noise: tuple | None = None
    determined: tuple | None = None
    limits: tuple = (-np.inf, np.inf)
    n_unseen: int = 0
    likely: tuple | None = None
    bounds: ErrorBounds | None = None

    @property
    def known(self):
        """The model of the rows and columns that were in the data."""
        m, n = self.model.shape
        rows = self.model.rows[: m - self.n_unseen]
        return self.model._replace(
            rows=rows, columns=self.model.columns[: n - self.n_unseen]
        )

    def in_units(self, units):
        """Return the completion of a matrix, of which this is that in units of columns.

        What is stated of all columns together only has a unit where they have the same.
        """
        unit = units.scale if units.same else 1.0
        errors = self.held_out
        scale = units.at(errors.columns).scale
        return self._replace(
            model=self.model._replace(units=units.around(self.model.units)),
            held_out=errors._replace(values=scale * errors.values),
            history=unit * self.history if self.history_is_rms else self.history,
            # That of the nuclear norm is relative.
            alpha=self.alpha * unit if self.solver == "als" else self.alpha,
        )

    def fold_in(self, observed):
        """Return the rows that entries of other rows have, as `low_rank.fold_in`."""
        return fold_in(self.model, observed)[0]

    def fill(self, X, *, clip=False, n_jobs=None):
        """Return rows with predictions for their missing entries.

        Parameters
        ----------
        X : ndarray of shape (m', n)
            NaN where missing. The rows may be new.
        clip : bool, default=False
            Whether predictions are kept within `limits`.
        n_jobs : int, default=None

        Returns
        -------
        ndarray of shape (m', n)
            X itself, where nothing is missing.
        """
        missing = np.isnan(X)
        if not missing.any():
            return X
        filled = (self.filler or self.model).fill(X, n_jobs=n_jobs)
        if clip:
            filled[missing] = filled[missing].clip(*self.limits)
        return filled

    def predict_rows(self, observed, *, clip=False):
        """Return what the model says of every entry of rows, in full.

        Parameters
        ----------
        observed : Observed of shape (m', n)
            What is known of these rows, which are folded in.
        clip : bool, default=False
            Whether the entries are kept within `limits`.

        Returns
        -------
        ndarray of shape (m', n)
        """
        entries = self.model.entries_of(self.fold_in(observed))
        return entries.clip(*self.limits, out=entries) if clip else entries

    def predict(self, rows, columns, *, return_std=False, clip=False, n_jobs=None):
        """Return entries of the model.

        Parameters
        ----------
        rows, columns : ndarray of int of shape (n_pairs,)
        return_std : bool, default=False
            Whether to return standard deviations of new observations.
        clip : bool, default=False
            Whether the entries are kept within `limits`.
        n_jobs : int, default=None

        Returns
        -------
        mean : ndarray of float64 of shape (n_pairs,)
        std : ndarray of float64 of shape (n_pairs,) or None

        Raises
        ------
        ValueError
            When `return_std` is true and the solver did not estimate the noise.
        """
        if return_std and self.noise is None:
            raise ValueError(
                f"return_std=True needs solver='gibbs', but {self.solver!r} was used."
            )
        mean, variance = predict_entries(self.model, rows, columns, n_jobs=n_jobs)
        mean = mean.clip(*self.limits) if clip else mean
        if not return_std:
            return mean, None
        variance += self.noise[0][rows] * self.noise[1][columns]
        return mean, self.model.units.at(columns).scale * np.sqrt(variance)

    def score(self, observed, share, *, table=None, clip=False, n_jobs=None):
        """Hide a part of the entries of each row, and predict it from the rest.

        Parameters
        ----------
        observed : Observed
            Entries of rows, which may be new.
        share : float
            About how many of a row are hidden: which ones depends on their places alone.
        table : ndarray of shape (m', n), default=None
            The same entries as a dense array, NaN where missing. It is filled in, where
            without it only the hidden entries are predicted, by the model.
        clip : bool, default=False
            Whether predictions are kept within `limits`.
        n_jobs : int, default=None

        Returns
        -------
        float
            Coefficient of determination.

        Raises
        ------
        ValueError
            When there are no two entries in any row.
        """
        seen, hidden = observed.split(observed.part_of_each_row(share, stream(0)))
        if not hidden.nnz:
            raise ValueError("score needs rows with at least two known entries.")
        places = hidden.rows, hidden.indices
        if table is not None:
            part = table.copy()
            part[places] = np.nan
            predicted = self.fill(part, n_jobs=n_jobs)[places]
        else:
            model = self.model._replace(rows=self.fold_in(seen))
            predicted, _ = predict_entries(model, *places)
        predicted = predicted.clip(*self.limits) if clip else predicted
        truth = hidden.values.astype(np.float64)
        unit = scale_of(truth)
        truth, predicted = truth / unit, predicted / unit
        total = np.square(truth - truth.mean()).sum()
        residual = np.square(truth - predicted).sum()
        if not total:
            return 1.0 if not residual else 0.0
        return float(1 - residual / total)

    def recommend(self, rows, n, *, exclude_seen=True, n_jobs=None):
        """Return the columns with the largest entries in rows of the data.

        Parameters
        ----------
        rows : ndarray of int of shape (n_rows,)
        n : int
        exclude_seen : bool, default=True
            Whether to leave out the known entries.
        n_jobs : int, default=None

        Returns
        -------
        columns : ndarray of int of shape (n_rows, n)
        scores : ndarray of shape (n_rows, n)
            As of `largest_entries`.
        """
        return largest_entries(
            self.known,
            self.model.rows[rows],
            n,
            exclude=self.seen.take(rows) if exclude_seen else None,
            n_jobs=n_jobs,
        )

    def recommend_new(self, observed, n, *, exclude_seen=True, n_jobs=None):
        """Return the columns with the largest entries in other rows, which are folded in.

        Parameters
        ----------
        observed : Observed of shape (n_rows, n_columns)
            What is known of these rows.
        n, exclude_seen, n_jobs
            As for `recommend`, as is what is returned.
        """
        return largest_entries(
            self.known,
            self.fold_in(observed),
            n,
            exclude=observed if exclude_seen else None,
            n_jobs=n_jobs,
        )

    def with_unseen(self):
        """Return the same with one row and one column more, of which nothing was seen.

        They stand for all rows and columns that were not in the data. The row is what is
        folded in without an entry, the column is that of the model.
        """
        model, seen = self.model, self.seen
        nothing = Observed.from_pairs(
            *np.zeros((2, 0), dtype=int), np.zeros(0), (1, seen.shape[1])
        )
        row, row_noise = fold_in(model, nothing)
        noise = self.noise
        if noise is not None:
            of_rows, of_columns = noise
            noise = np.append(of_rows, row_noise), np.append(of_columns, of_columns.mean())
        extended = model._replace(
            rows=np.concatenate([model.rows, row]),
            columns=np.concatenate([model.columns, model.new_column]),
        )
        return self._replace(
            model=extended,
            noise=noise,
            n_unseen=1,
            seen=Observed(
                (seen.shape[0] + 1, seen.shape[1]),
                np.append(seen.indptr, seen.indptr[-1]),
                seen.indices,
                seen.values,
            ),
        )
