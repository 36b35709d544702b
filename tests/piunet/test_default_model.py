"""The model that comes with the package, on whichever backend is installed."""

from importlib.util import find_spec

import mne
import numpy as np
import pytest

from mne_invkit.cli.demo import HAND_AREA
from mne_invkit.heads.template import template_forward
from mne_invkit.solvers.eloreta import fit_eloreta
from mne_invkit.viz.snapshot import take_snapshot
from mne_piunet import apply_piunet, list_models, load_piunet, make_piunet
from mne_piunet.inference import BACKENDS, Network
from mne_piunet.kernel.grid import SPACING, make_blocks
from mne_piunet.kernel.inputs import MASK, N_INPUTS
from mne_piunet.weights import ASSETS

INSTALLED = [name for name in BACKENDS if find_spec(name)]
pytestmark = pytest.mark.skipif(not INSTALLED, reason="neither torch nor onnxruntime is installed")


def test_card_tells_where_the_model_comes_from():
    card = load_piunet().card
    assert {"domain", "commit", "recipe", "steps", "hours", "figures", "network"} <= set(card)
    assert set(card["sha256"]) == {".safetensors", ".onnx"}
    assert card["figures"]["1 source, 20 dB"] < 0.4
    assert list_models() == ["default"]
    assert sum(path.stat().st_size for path in ASSETS.iterdir()) < 15e6


def test_backends_agree():
    if len(INSTALLED) < 2:
        pytest.skip("only one backend is installed")
    weights = load_piunet()
    rng = np.random.default_rng(0)
    blocks = make_blocks(rng.random((8, 12, 8)) > 0.8, 2)
    inputs = rng.random((2, N_INPUTS, blocks.voxels.size), np.float32)
    inputs[:, MASK] = inputs[:, MASK] > 0.3
    one, other = (Network(weights, name)(inputs, blocks.places) for name in INSTALLED)
    np.testing.assert_allclose(other, one, atol=1e-4 * np.abs(one).max())


# %% Accuracy


@pytest.fixture(scope="module")
def make_columns(eeg_info):
    """Forward columns of the cortex with noise at 20 dB, from a head of given conductivity."""
    heads = {
        skull: template_forward(
            eeg_info, spacing="ico4", conductivity=(0.3, skull, 0.3), verbose=False
        )
        for skull in (0.006, 0.01)
    }
    forward = heads[0.006]
    noise_cov = mne.Covariance(np.full(32, 1e-12), eeg_info.ch_names, [], [], 0)

    def make(skull):
        rng = np.random.default_rng(0)
        true = rng.choice(forward["nsource"], 400, replace=False)
        moments = rng.standard_normal((400, 3))
        gain = heads[skull]["sol"]["data"].reshape(32, -1, 3)[:, true]
        fields = np.einsum("mno,no->mn", gain, moments)
        fields *= 10e-6 / fields.std(axis=0)
        fields += 1e-6 * rng.standard_normal(fields.shape)
        evoked = mne.EvokedArray(fields, eeg_info, verbose=False)
        evoked.set_eeg_reference("average", projection=True, verbose=False)
        return evoked, forward, noise_cov, forward["source_rr"][true]

    return make


@pytest.mark.parametrize("skull", [0.006, 0.01])
def test_single_sources_are_found_and_sharper_than_by_eloreta(skull, make_columns):
    """In the true head nearer than by eLORETA; in another one, no farther than a voxel."""
    evoked, forward, noise_cov, places = make_columns(skull)
    errors, spreads = [], []
    apart = np.linalg.norm(forward["source_rr"][:, None] - places, axis=2)
    for stc in (
        apply_piunet(evoked, forward, noise_cov),
        fit_eloreta(evoked, forward, noise_cov, loose=1.0).stc,
    ):
        errors.append(apart[stc.data.argmax(axis=0), np.arange(400)])
        spreads.append(np.median(np.sum(stc.data * apart, axis=0) / stc.data.sum(axis=0)))
    ours, theirs = np.median(errors, axis=1)
    print(f"skull {skull}: median errors, mm: PIUNet {1e3 * ours:.1f}, eLORETA {1e3 * theirs:.1f}")
    assert ours < SPACING
    if skull == 0.006:
        assert ours <= theirs
        assert np.mean(errors[0]) < np.mean(errors[1])
    assert spreads[0] < 0.5 * spreads[1]


def test_amplitudes_fit_the_data(make_columns):
    """The field of the estimate has the size of the data's part that it explains."""
    evoked, forward, noise_cov, _ = make_columns(0.01)
    evoked.crop(0, 0.99)  # 100 sources
    operator = make_piunet(evoked.info, forward, noise_cov)
    data = operator.problem.with_data(evoked).data[0]
    field = operator.problem.gain @ operator.estimate(data)
    explained = 1 - np.sum((data - field) ** 2, axis=0) / np.sum(data**2, axis=0)
    assert np.median(explained) > 0.6


def test_hand_area_of_a_real_recording(sep):
    """The N20 of the median nerve, by sources that point along the cortex's normals."""
    forward = template_forward(sep.evoked.info, verbose=False)
    forward = mne.convert_forward_solution(forward, force_fixed=True, verbose=False)
    time = sep.evoked.times[sep.evoked.data.std(axis=0).argmax()]
    evoked = sep.evoked.copy().crop(time, time)
    stc = apply_piunet(evoked, forward, sep.noise_cov)
    peak = take_snapshot(stc, forward["src"], time=time).peak()
    print(f"{np.linalg.norm(peak.position - HAND_AREA):.0f} mm from the hand area")
    assert np.linalg.norm(peak.position - HAND_AREA) < 20


def hemisphere_peaks(stc, positions):
    """Distance (m) of each hemisphere's strongest source from auditory cortex, and its share."""
    strength = stc.data.mean(axis=1)
    found = []
    for side, cortex in ((-1, [-0.050, 0.012, 0.062]), (1, [0.052, 0.012, 0.062])):
        mine = np.flatnonzero(side * positions[:, 0] > 0)
        peak = mine[strength[mine].argmax()]
        distance = np.linalg.norm(positions[peak] - cortex)
        found.append((distance, strength[peak] / strength.max()))
    return np.array(found)


@pytest.mark.parametrize("picks", ["meg", ["meg", "eeg"]])
def test_auditory_cortex_of_real_recordings(picks, auditory):
    """Around 100 ms after tones in either ear, the strongest source of each hemisphere."""
    evokeds, forward, noise_cov = auditory
    evokeds = {
        ear: evoked.copy().pick(picks, exclude="bads").crop(0.08, 0.12)
        for ear, evoked in evokeds.items()
    }
    operator = make_piunet(evokeds["left"].info, forward, noise_cov)
    for ear, evoked in evokeds.items():
        peaks = hemisphere_peaks(apply_piunet(evoked, operator), forward["source_rr"])
        print(f"{ear} ear, {picks}: distances and shares {peaks.round(3).tolist()}")
        assert (peaks[:, 0] < 0.02).all(), ear
        assert (peaks[:, 1] > 0.2).all(), ear


@pytest.mark.parametrize("ear", ["left", "right"])
def test_few_trials_of_eeg_are_told_better_than_by_eloreta(ear, auditory):
    """Three (left) or six trials of EEG tell little: both are far from auditory cortex."""
    evokeds, forward, noise_cov = auditory
    evoked = evokeds[ear].copy().pick("eeg", exclude="bads").crop(0.08, 0.12)
    ours, theirs = (
        hemisphere_peaks(stc, forward["source_rr"])[:, 0]
        for stc in (
            apply_piunet(evoked, forward, noise_cov),
            fit_eloreta(evoked, forward, noise_cov).stc,
        )
    )
    print(f"{ear} ear, EEG: {1e3 * ours} mm, eLORETA {1e3 * theirs} mm")
    assert (ours < theirs).all()
