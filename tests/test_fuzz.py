"""No input ends in an error of the machinery, or in a result that is not finite.

The cases are the same in each run. For more of them, and others each time, run
``FUZZ_EXAMPLES=1000 pytest tests/test_fuzz.py``.
"""

import inspect
import os
import re
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.neural_network import MLPRegressor

import sklearn_rnla
from sklearn_rnla import linalg, neural
from tests import inputs

WANTED = os.environ.get("FUZZ_EXAMPLES")
budget = settings(
    max_examples=int(WANTED or 40),
    derandomize=WANTED is None,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

ESTIMATORS = {
    name: getattr(sklearn_rnla, name)
    for name in sklearn_rnla.__all__
    if hasattr(getattr(sklearn_rnla, name), "get_params")
}
FUNCTIONS = {
    name: getattr(module, name)
    for module in (linalg, neural)
    for name in module.__all__
    if inspect.isfunction(getattr(module, name))
}
# What tables of a function usually are; one of 40 rows where nothing is said.
TALL, SQUARE, FLAT = ("normal", (40, 5)), ("gram", (12, 12)), ("normal", (5, 40))
TABLES = {
    "diagonal": [SQUARE],
    "log_det": [SQUARE],
    "trace": [SQUARE],
    "nystroem_eigh": [SQUARE],
    "randomized_eigh": [SQUARE],
    "ridge_leverage_scores": [SQUARE],
    "rpcholesky": [SQUARE],
    "lstsq": [TALL] * 2,
    "projection_error": [TALL] * 2,
    "linear_cka": [TALL] * 2,
    "principal_angles": [TALL] * 2,
    "subspace_overlap": [FLAT] * 2,
    "compress_layers": [FLAT] * 2,
    "select_neurons": [TALL, FLAT, ("normal", (12, 40))],
    "nystroem_attention": [TALL] * 3,
    "attention_error": [TALL] * 4,
}
UNKNOWN = ("error_estimate", np.inf)
AFTER_FIT = [
    "transform",
    "inverse_transform",
    "predict",
    "predict_entries",
    "decision_function",
    "recommend",
    "score",
    "score_samples",
    "get_covariance",
    "get_precision",
    "log_marginal_likelihood",
    "sample_y",
    "get_feature_names_out",
    "partial_fit",
    "fit",
]
# What numpy, scipy and Python say, where a check of this package should have spoken.
MACHINERY = re.compile(
    r"broadcast(?!s to)|zero-size|not aligned|mismatch in its core|setting an array|"
    r"unpack|cannot reshape|infs or NaNs|illegal value|math domain|convert float NaN|"
    r"'NoneType'|unsupported operand|ufunc|object is not|not supported between|n_rows=None|"
    r"must be passed to|positional argument|unexpected keyword|dimension mismatch|"
    r"all input arrays|need at least one|out of bounds|truth value|empty sequence|"
    r"can't multiply|only .* arrays can be converted|axis|[bB]uffer|did not converge|"
    r"[cC]annot cast|Cannot interpret|not understood|high - low|low >= high|float\(\) arg"
)


def network():
    """Return a network of two hidden layers, fitted to nothing much."""
    X = np.random.default_rng(0).standard_normal((40, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MLPRegressor(hidden_layer_sizes=(6, 4), max_iter=2, random_state=0).fit(
            X, X[:, 0]
        )


def arguments(name, tables):
    """Return what a function is given of its tables, by name."""
    if name == "compress_mlp":
        return {"network": network(), "X": tables[0]}
    if name == "compress_layers":
        return {"weights": dict(zip("ab", tables, strict=True))}
    return dict(zip(inspect.signature(FUNCTIONS[name]).parameters, tables, strict=False))


def floats_in(result):
    """Yield every array of floats in a result."""
    if sp.issparse(result):
        yield from floats_in(result.data)
    elif isinstance(result, dict):
        yield from floats_in(list(result.values()))
    elif hasattr(result, "coefs_"):
        yield from floats_in([result.coefs_, result.intercepts_])
    elif isinstance(result, tuple | list):
        parts = zip(getattr(result, "_fields", [""] * len(result)), result, strict=True)
        # An error that nothing is known about is infinite.
        for part in (part for name, part in parts if (name, part) != UNKNOWN):
            yield from floats_in(part)
    elif isinstance(result, float | np.ndarray) and np.asarray(result).dtype.kind == "f":
        yield np.asarray(result)


def check_finite(result, out_of_range):
    for values in floats_in(result):
        assert not np.isnan(values).any()
        assert out_of_range or np.isfinite(values).all()


def fitted(estimator):
    """Return what a fit has found; errors without a held-out entry are NaN."""
    return [
        value
        for name, value in vars(estimator).items()
        if name.endswith("_") and not name.startswith("_") and "error" not in name
    ]


def attempt(call, out_of_range):
    """Return what `call` is refused for, or None, and what it gives.

    Raises
    ------
    Exception
        Whatever is no refusal.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not out_of_range:
            warnings.filterwarnings("error", category=RuntimeWarning)
        try:
            return None, call()
        except (ValueError, TypeError) as error:
            of_machinery = isinstance(error, np.linalg.LinAlgError | UnicodeError)
            if of_machinery or MACHINERY.search(str(error)):
                raise AssertionError(f"{type(error).__name__}: {error}") from error
            return error, None


def is_out_of_range(*given):
    """Return whether squares of what is given, or their inverses, overflow."""
    return any(each.largest and not 1e-150 < each.largest < 1e150 for each in given)


def try_estimator(name, params, table, target, weight, after, other):
    """Fit, and call a method; return what it was refused for, if it was."""
    n_rows = len(table.values)
    y = target.build(n_rows)
    estimator = ESTIMATORS[name](**params)
    takes_weight = "sample_weight" in inspect.signature(estimator.fit).parameters
    weights = {"sample_weight": weight.build(n_rows)} if takes_weight else {}
    args = () if name == "MatrixCompleter" else (y,)
    out_of_range = is_out_of_range(table, target, weight)
    error, _ = attempt(lambda: estimator.fit(table.build(), *args, **weights), out_of_range)
    if error is not None or not hasattr(estimator, after):
        return error
    check_finite(fitted(estimator), out_of_range)
    method, given = getattr(estimator, after), {"X": other.build(), "y": y}
    given |= {"rows": [0, 1], "columns": [1, 0], "pairs": [[0, 1]]}
    taken = [given[each] for each in inspect.signature(method).parameters if each in given]
    out_of_range = is_out_of_range(table, target, weight, other)
    error, result = attempt(lambda: method(*taken), out_of_range)
    # Where there is nothing more to recommend, scores are -inf.
    check_finite(result, out_of_range or after == "recommend")
    return error


def cases_of_estimator(name):
    """Return a strategy of all that an estimator may be given."""
    regular = name != "MatrixFactorizationRegressor"
    table = inputs.tables(*("normal", (40, 5)) if regular else ("pairs", (40, 2)))
    params = inputs.parameters(inputs.allowed_by(ESTIMATORS[name]))
    if name == "SketchProjection":
        # What follows from 40 rows is more than any table here has columns.
        params = params.map(lambda some: {"n_components": 3} | some)
    return st.tuples(
        st.just(name),
        params,
        table,
        inputs.targets("classes" if name.endswith("Classifier") else "normal"),
        inputs.weights,
        st.sampled_from(AFTER_FIT),
        table,
    )


def try_function(name, params, *tables):
    """Call a function; return what it was refused for, if it was."""
    params = arguments(name, [table.build() for table in tables]) | params
    out_of_range = is_out_of_range(*tables)
    error, result = attempt(lambda: FUNCTIONS[name](**params), out_of_range)
    check_finite(result, out_of_range)
    return error


def cases_of_function(name):
    """Return a strategy of all that a function may be given."""
    tables = [inputs.tables(*usual) for usual in TABLES.get(name, [TALL])]
    given = arguments(name, tables)
    parameters = inspect.signature(FUNCTIONS[name]).parameters.values()
    taken = [each for each in parameters if each.name not in given]
    allowed = inputs.documented(FUNCTIONS[name], [each.name for each in taken])
    needed = {
        each.name: st.sampled_from(allowed[each.name])
        for each in taken
        if each.default is inspect.Parameter.empty
    }
    if name == "low_rank_factorize":
        # Exactly one of four sizes is needed.
        needed["compression"] = st.sampled_from([2.0, 3, 1e300])
    params = st.builds(
        lambda needed, more: needed | more,
        st.fixed_dictionaries(needed),
        inputs.parameters(allowed),
    )
    return st.tuples(st.just(name), params, *tables)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_refuse_or_give_what_is_finite(name):
    @budget
    @given(cases_of_estimator(name))
    def check(case):
        try_estimator(*case)

    check()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_refuse_or_give_what_is_finite(name):
    @budget
    @given(cases_of_function(name))
    def check(case):
        try_function(*case)

    check()
