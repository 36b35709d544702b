"""Scores of all six classes of MNE source estimates, dense and sparse."""

import sys

import mne
import numpy as np
import pytest

from mne_invkit.inverse.stc import dense_data, source_positions
from mne_invkit.metrics.estimates import score

RNG = np.random.default_rng(0)


def discrete(n, seed):
    rr = np.random.default_rng(seed).uniform(-0.05, 0.05, (n, 3))
    nn = np.tile([0.0, 0.0, 1.0], (n, 1))
    return mne.setup_volume_source_space(pos={"rr": rr, "nn": nn}, verbose=False)


@pytest.fixture(scope="module")
def spaces():
    from mne_invkit.heads.template import template_source_space

    surface = template_source_space("surface", spacing="ico3", verbose=False)
    volume = discrete(50, 0) + discrete(30, 1)
    return {"surface": surface, "volume": volume, "mixed": surface + discrete(40, 2)}


CLASSES = {
    mne.SourceEstimate: "surface",
    mne.VectorSourceEstimate: "surface",
    mne.VolSourceEstimate: "volume",
    mne.VolVectorSourceEstimate: "volume",
    mne.MixedSourceEstimate: "mixed",
    mne.MixedVectorSourceEstimate: "mixed",
}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_score_of_every_class_dense_and_sparse(cls, spaces):
    src = spaces[CLASSES[cls]]
    positions = source_positions(src)
    orient = (3,) if "Vector" in cls.__name__ else ()
    last = len(src) - 1
    first = np.linalg.norm(positions[: src[0]["nuse"]] - positions[-2], axis=1).argmax()
    dense = np.zeros((len(positions), *orient, 10))
    dense[[first, -2]] = RNG.standard_normal((2, *orient, 1)) * np.sin(np.arange(10))
    vertices = [s["vertno"] for s in src]
    truth = cls(dense, vertices, tmin=0, tstep=0.01)
    active = [v[:0] for v in vertices]
    active[0], active[last] = vertices[0][[first]], vertices[last][[-2]]
    sparse = cls(dense[[first, -2]], active, tmin=0, tstep=0.01)

    np.testing.assert_array_equal(dense_data(sparse, src), dense)
    result = score(truth, sparse, src)
    np.testing.assert_allclose(list(result.values()), [0, 0, 0, 1, 0, 0], atol=1e-12)
    short = (stc.copy().crop(0.01, 0.02) for stc in (truth, sparse))
    assert np.isnan(score(*short, src)["time_course_error"])  # two samples, no course


def test_score_measures_the_misplaced_source(spaces):
    src = spaces["volume"]
    positions, vertices = source_positions(src), [s["vertno"] for s in src]
    truth, wrong = np.zeros((2, 80, 5))
    truth[3] = wrong[60] = [1, -1, 2, 0, 1]
    stcs = [mne.VolSourceEstimate(x, vertices, 0, 0.01) for x in (truth, wrong)]
    result = score(*stcs, src)
    distance = np.linalg.norm(positions[3] - positions[60])
    assert result["localization_error"] == pytest.approx(distance)
    assert result["spatial_dispersion"] == pytest.approx(distance)
    uniform = np.linalg.norm(positions - positions[3], axis=1).mean()
    assert result["normalized_emd"] == pytest.approx(distance / uniform)
    assert result["amplitude_error"] == pytest.approx(2)


def test_auc_agrees_with_mne(spaces):
    pytest.importorskip("sklearn")
    src = spaces["volume"]
    vertices = [s["vertno"] for s in src]
    truth = np.zeros((80, 1))
    truth[[3, 9]] = 1
    stcs = [mne.VolSourceEstimate(x, vertices, 0, 1) for x in (truth, RNG.standard_normal((80, 1)))]
    auc = mne.simulation.metrics.roc_auc_score(*stcs, per_sample=False)
    assert score(*stcs, src)["auc"] == pytest.approx(auc)


def test_stc_errors(spaces):
    src, volume = spaces["surface"], spaces["volume"]
    stc = mne.SourceEstimate(np.ones((2, 4)), [[0], [1]], 0, 0.1)
    with pytest.raises(TypeError, match="source estimate"):
        dense_data(np.ones(3), src)
    with pytest.raises(TypeError, match='forward\\["src"\\]'):
        dense_data(stc, "surface")
    with pytest.raises(ValueError, match="covers 2 source spaces and src 3"):
        dense_data(stc, spaces["mixed"])
    foreign = mne.VolSourceEstimate(np.ones((2, 4)), [[0], [40]], 0, 0.1)
    with pytest.raises(ValueError, match="vertices that src does not use"):
        dense_data(foreign, volume)
    later = mne.SourceEstimate(np.ones((2, 4)), [[0], [1]], 5.0, 0.1)
    with pytest.raises(ValueError, match="same times"):
        score(stc, later, src)


def test_without_pot_the_other_metrics_are_there(spaces, monkeypatch):
    src = spaces["surface"]
    stc = mne.SourceEstimate(np.eye(src[0]["nuse"], 5), [src[0]["vertno"], []], 0, 0.01)
    with_pot = score(stc, stc, src)
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.warns(RuntimeWarning, match=r'needs POT: pip install "mne-invkit\[metrics\]"'):
        without = score(stc, stc, src)
    assert np.isnan(without.pop("normalized_emd"))
    del with_pot["normalized_emd"]
    assert without == with_pot


def test_values_that_are_not_finite_are_refused(spaces):
    stc = mne.SourceEstimate(np.ones((2, 4)), [[0], [1]], 0, 0.1)
    bad = stc.copy()
    bad.data[0, 0] = np.nan
    with pytest.raises(ValueError, match="stc has values that are not finite"):
        score(stc, bad, spaces["surface"])
