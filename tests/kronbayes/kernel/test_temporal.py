"""Every temporal family: what the loop relies on, and what each should learn."""

import ast
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import inv, toeplitz
from scipy.signal import lfilter

from mne_kronbayes.kernel.families import FLOOR
from mne_kronbayes.kernel.loop import dugh
from mne_kronbayes.kernel.stationary import AutoRegressive, SquaredExponential, Stationary
from mne_kronbayes.kernel.temporal import TEMPORAL

GUIDE = Path(__file__).parents[3] / "CONTRIBUTING.md"


def courses(n_rows=400, n_times=16, ar=0.8, seed=0):
    """Autoregressive rows."""
    rows = np.random.default_rng(seed).standard_normal((n_rows, n_times + 100))
    return lfilter([1], [1, -ar], rows)[:, 100:]


@pytest.fixture(params=sorted(TEMPORAL))
def family(request):
    """A family that has taken two steps."""
    family = TEMPORAL[request.param](16)
    for seed in (1, 2):
        rows = courses(seed=seed)
        family = family.update(rows, family.solve(rows))
    return family


def test_factors_are_those_of_the_covariance(family):
    rows = np.random.default_rng(0).standard_normal((3, 5, 16))
    np.testing.assert_allclose(family.solve(rows), rows @ inv(family.covariance), atol=1e-8)
    assert family.log_det == pytest.approx(np.linalg.slogdet(family.covariance)[1], abs=1e-8)
    if family.column is not None:
        np.testing.assert_allclose(toeplitz(family.column), family.covariance, atol=1e-12)


def test_normalized_has_trace_t(family):
    normal, factor = family.normalized()
    assert np.trace(normal.covariance) == pytest.approx(16)
    np.testing.assert_allclose(factor * normal.covariance, family.covariance, rtol=1e-10)


def test_an_update_lowers_the_cost_and_leaves_the_old_alone(family):
    rows = courses(ar=0.3, seed=3)
    moment = rows.T @ rows / len(rows)
    before = family.covariance.copy()

    def cost(family):
        return family.log_det + np.trace(np.linalg.solve(family.covariance, moment))

    new = family.update(rows, family.solve(rows))
    if family.n_parameters:
        assert cost(new) < cost(family) - 0.1
    else:
        assert new is family
    np.testing.assert_array_equal(family.covariance, before)


def test_a_step_lowers_the_majorizer(family):
    rng = np.random.default_rng(4)
    a, c = (x @ x.T / 20 for x in rng.standard_normal((2, 16, 20)))
    moment = family.covariance @ c @ family.covariance

    def cost(family):
        b = family.covariance
        return np.trace(a @ b) + np.trace(np.linalg.solve(b, moment))

    new = family.step(a, c)
    if family.n_parameters:
        assert cost(new) < cost(family) - 0.1
    else:
        assert new is family


@pytest.mark.parametrize(
    ("family", "correlation", "truth"),
    [
        (AutoRegressive, lambda lags: 0.8**lags, 0.8),
        (SquaredExponential, lambda lags: np.exp(-0.5 * (lags / 2.5) ** 2), 2.5),
    ],
)
def test_the_parameter_is_learned(family, correlation, truth):
    covariance = 3 * (toeplitz(correlation(np.arange(16))) + FLOOR * np.eye(16))
    rows = np.random.default_rng(0).multivariate_normal(np.zeros(16), covariance, 2000)
    learned = family(16)
    for _ in range(4):
        learned = learned.update(rows, learned.solve(rows))
    assert learned.parameter == pytest.approx(truth, rel=0.03)
    assert learned.covariance[0, 0] == pytest.approx(3, rel=0.03)


def test_the_guide_shows_the_live_source():
    """The body of the family in the how-to is that of the package, docstrings aside."""
    guide = GUIDE.read_text(encoding="utf-8")
    (block,) = (
        b for b in re.findall(r"```python\n(.*?)```", guide, re.DOTALL) if "class Auto" in b
    )
    tree, live = (ast.parse(text) for text in (block, inspect.getsource(AutoRegressive)))
    for node in ast.walk(live):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            del node.body[0]
    assert ast.dump(tree) == ast.dump(live)


def test_the_family_of_the_contributing_guide():
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    names = {}
    exec(next(block for block in blocks if "import Stationary" in block), names)
    (family,) = (
        v for v in names.values()
        if isinstance(v, type) and issubclass(v, Stationary) and v is not Stationary
    )  # fmt: skip
    rng = np.random.default_rng(0)
    gain = rng.standard_normal((12, 40))
    time = np.arange(30)
    data = np.outer(gain[:, 5], np.sin(0.6 * time)) + 0.1 * rng.standard_normal((12, 30))
    result = dugh(data[None], gain, temporal=family)
    assert np.all(np.diff(result.cost) <= 1e-9 * np.abs(result.cost).max())
    assert result.source_variance.argmax() == 5
