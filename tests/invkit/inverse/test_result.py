"""Results are made when asked for, from copies of all that they need."""

import mne
import numpy as np
import pytest

from mne_invkit import make_result, prepare_problem
from mne_invkit.inverse.result import BaseResult, Result, code_of


@pytest.fixture
def problem(eeg_evoked, forwards, eeg_cov):
    return prepare_problem(eeg_evoked, forwards["surface"], eeg_cov, verbose=False)


def random_components(problem):
    shape = (len(problem.data), problem.gain.shape[1], len(problem.times))
    return np.random.default_rng(0).standard_normal(shape)


def test_changes_of_the_data_change_no_result(eeg_evoked, problem):
    found = random_components(problem)
    expected = make_result(problem, found, verbose=False).residual.data
    late = make_result(problem, found, verbose=False)
    eeg_evoked.crop(0.0, 0.05)
    eeg_evoked.data *= 7
    eeg_evoked.info["bads"] = ["Cz"]
    np.testing.assert_array_equal(late.residual.data, expected)
    assert late.stc.shape[1] == len(problem.times)


def test_all_parts_of_the_protocol(problem):
    result = make_result(
        problem, random_components(problem), module="mne_invkit.anything", pick_ori="vector",
        settings={"alpha": 3}, cost=np.arange(3.0), verbose=False,
    )  # fmt: skip
    assert isinstance(result, Result)
    assert isinstance(result.stc, mne.VectorSourceEstimate)
    assert result.settings == {
        **problem.settings, "alpha": 3, "pick_ori": "vector", "sparse": False,
    }  # fmt: skip
    assert result.unit == "A m"
    assert result.code.startswith("mne_invkit 0.")
    assert result.figures() == {}
    assert len(result.dipoles(2)) == 2
    np.testing.assert_array_equal(result.cost, [0, 1, 2])
    assert "mne_invkit 0." in repr(result)
    assert len(repr(result)) < 200


def test_weights_make_values_of_another_unit(problem):
    """As dSPM does: the estimate is divided by its noise, the residual stays that of A m."""
    found = random_components(problem)
    weights = np.repeat(np.linspace(1e8, 2e8, len(problem.axes)), problem.n_orient)
    plain = make_result(problem, found, verbose=False)
    result = make_result(problem, found, unit="dSPM", weights=weights, verbose=False)
    assert result.unit == "dSPM"
    np.testing.assert_allclose(result.stc.data, weights[::3, None] * plain.stc.data)
    np.testing.assert_array_equal(result.residual.data, plain.residual.data)
    assert result.explained_variance == plain.explained_variance
    for wrong in (dict(unit="dSPM"), dict(weights=weights)):
        with pytest.raises(ValueError, match="both unit"):
            make_result(problem, found, **wrong)


def test_text_in_a_notebook_is_escaped(problem):
    found = random_components(problem)
    settings = {"<script>": "<b>&", "weights": np.zeros(100), "long": "x" * 10**6}
    result = make_result(problem, found, module="a" * 500, settings=settings, verbose=False)
    html = result._repr_html_()
    assert "&lt;script&gt;" in html
    assert "&lt;b&gt;&amp;" in html
    assert "<script>" not in html
    assert "array of shape (100,)" in html
    assert len(html) < 5000
    assert len(repr(result)) < 200


def test_wrong_shape_is_told(problem):
    with pytest.raises(ValueError, match=r"shape \(n_trials, n_locations \* n_orient, n_times\)"):
        make_result(problem, random_components(problem)[0])


def test_code_names_package_and_version():
    assert code_of("mne.minimum_norm") == f"mne {mne.__version__}"
    assert code_of("a_module_of_no_package") == "a_module_of_no_package"


def test_a_result_of_ones_own_needs_its_components(problem):
    class Ones(BaseResult):
        def __init__(self):
            self.problem, self.settings, self.code = problem, {"sparse": True}, "mine 1"

        active = np.array([3, 5])

        def components(self, trial):
            return np.ones((6, len(problem.times)))

    result = Ones()
    assert isinstance(result, Result)
    assert result.stc.shape == (2, len(problem.times))
    std = problem.source_std[[9, 10, 11]]
    np.testing.assert_allclose(result.stc.data[0], np.linalg.norm(std))
    field = problem.gain[:, problem.columns(result.active)].sum(axis=1)
    rest = np.sum((problem.data[0] - field[:, None]) ** 2)
    assert result.explained_variance == pytest.approx(100 * (1 - rest / np.sum(problem.data**2)))
