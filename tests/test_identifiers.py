"""Identifiers are exact in any type, and each column is encoded by itself."""

import datetime
import pickle
import uuid
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sklearn_rnla import MatrixFactorizationRegressor
from sklearn_rnla._identifiers import Identifiers

BIG = 76561197960265728
INTEGERS = {
    "beyond floats": [BIG + u for u in (3, 0, 1, 2)],
    "beyond int64": [2**63 + u for u in (3, 0, 1, 2)],
    "of both signs": [-1, 2**63 + 1, 2**63, -(2**63)],
}
CONTAINERS = {
    "list": list,
    "object": lambda ids: np.array(ids, dtype=object),
    "pandas object": lambda ids: pd.Series(ids, dtype=object),
    "polars": lambda ids: pl.Series(ids, dtype=pl.Int128),
}
TYPED = {
    "int64": lambda ids: np.array(ids, dtype=np.int64),
    "Int64": lambda ids: pd.Series(ids, dtype="Int64"),
    "UInt64": lambda ids: pd.Series(ids, dtype="UInt64"),
    "category": lambda ids: pd.Series(ids).astype("category"),
    "polars int64": pl.Series,
}
DAY = np.datetime64("2024-02-29")


@pytest.mark.parametrize("ids", INTEGERS.values(), ids=INTEGERS)
def test_integers_of_any_size_and_type_are_told_apart(ids):
    makers = {**CONTAINERS, **(TYPED if ids[0] == BIG + 3 else {})}
    for make in makers.values():
        found, places = Identifiers.encode(make(ids), "X")
        assert found.distinct.tolist() == sorted(ids)
        assert places.tolist() == [sorted(ids).index(each) for each in ids]
        for other in makers.values():
            np.testing.assert_array_equal(found.places(other(ids), "X"), places)
        assert found.places([1, ids[0]], "X").tolist() == [4, places[0]]


def test_columns_of_a_frame_do_not_share_a_type():
    users = np.repeat([BIG + u for u in range(12)], 6)
    items = np.tile(np.arange(6), 12)
    y = np.sin(users - BIG) + items
    columns = [items, items / 4, items.astype(np.uint64), items.astype(str)]
    for kind in (pd.DataFrame, pl.DataFrame):
        for second in columns:
            X = kind({"user": users, "item": second})
            model = MatrixFactorizationRegressor(1, random_state=0).fit(X, y)
            assert model.row_ids_.tolist() == [BIG + u for u in range(12)]
            assert len(model.column_ids_) == 6
            assert model.score(X, y) > 0.95
            if kind is pd.DataFrame:
                nullable = X.astype({"user": "Int64"})
                np.testing.assert_array_equal(model.predict(nullable), model.predict(X))


@pytest.mark.parametrize(
    ("ids", "same"),
    [
        (["007", "7", "a", "a\0"], pd.Series(["007", "7", "a", "a\0"], dtype="string")),
        (pd.Series(["7", "007"], dtype="category"), np.array(["7", "007"])),
        ([b"1", b"0"], np.array([b"1", b"0"])),
        ([0.5, 0.1, 2.0**60], np.array([0.5, 0.1, 2.0**60])),
        ([2, 1], np.array([2.0, 1.0], np.float32)),
        ([Decimal("0.1"), Decimal(3)], pd.Series([Decimal("0.1"), 3])),
        (DAY + np.arange(3), pd.Series(DAY + np.arange(3)).astype("M8[ns]")),
        (
            [datetime.date(2024, 2, 29), datetime.date(2, 1, 1)],
            pl.Series([datetime.date(2024, 2, 29), datetime.date(2, 1, 1)]),
        ),
        ([pd.Timestamp(1, unit="ns"), pd.Timestamp(0)], np.array([1, 0], "M8[ns]")),
        (
            pd.Series(pd.to_datetime(["2024-01-01", "2023-01-01"], utc=True)),
            [
                datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
                pd.Timestamp("2023-01-01 01:00", tz="Europe/Berlin"),
            ],
        ),
        (pd.Series(np.array([3600, 1], "m8[s]")), np.array([3600, 1], "m8[s]")),
        ([uuid.UUID(int=5), uuid.UUID(int=2)], [uuid.UUID(int=5)]),
        ([(1, "a"), (0, "b")], [(1, "a")]),
        (np.array([True, False]), [True, False]),
    ],
)
def test_what_can_be_sorted_identifies(ids, same):
    column = pd.Series(ids) if isinstance(ids[0], tuple) else ids
    found, places = Identifiers.encode(column, "X")
    assert len(found) == len(ids)
    assert sorted(places) == list(range(len(ids)))
    column = pd.Series(same) if len(same) and isinstance(same[0], tuple) else same
    np.testing.assert_array_equal(found.places(column, "X"), places[: len(same)])
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.places(column, "X"), places[: len(same)])


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, "1"], "cannot be compared, of the kinds 'number', 'string'"),
        ([True, 1], "'boolean', 'number'"),
        ([DAY, 19782], "'date', 'number'"),
        (pd.Series([(1, "a"), ("a", 1)]), "cannot be compared"),
        (pd.Series([{1: 2}, {3: 4}]), "cannot be compared"),
        ([1, None], "missing"),
        ([1.0, np.nan], "missing"),
        (["a", float("nan")], "missing"),
        (["a", pd.NA], "missing"),
        (pd.Series([BIG, None], dtype="Int64"), "missing"),
        (pd.Series(["a", None], dtype="category"), "missing"),
        (np.array(["2024", "NaT"], "M8[D]"), "missing"),
        (pd.Series(pd.to_datetime(["2024", None], utc=True)), "missing"),
        ([DAY, np.datetime64("NaT")], "missing"),
        (np.array([1, "NaT"], "m8[s]"), "missing"),
        (pl.Series([1, None]), "missing"),
        ([1.0, np.inf], "infinity"),
        (np.array([1j, 2]), "Complex data not supported"),
    ],
)
def test_what_is_missing_or_cannot_be_compared_is_refused(ids, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Identifiers.encode(ids, "Column 'user' of X")
    good = pd.Series(["a", "b"])
    with pytest.raises((ValueError, TypeError), match=message):
        MatrixFactorizationRegressor().fit(
            pd.DataFrame({"user": ids, "item": good}), [1, 2]
        )


@pytest.mark.parametrize("other", [["1"], [True], [DAY], [b"1"]])
def test_another_kind_than_in_fit_is_refused(other):
    found, _ = Identifiers.encode([1, 2], "X")
    with pytest.raises(
        ValueError, match=r"of the kind 'number', of dtype .*: give the same type"
    ):
        found.places(other, "X")
