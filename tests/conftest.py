"""Small recordings, head models and forward solutions that the tests share."""

import os
from pathlib import Path

PARALLEL = "PYTEST_XDIST_WORKER" in os.environ
if PARALLEL:  # before numpy and torch: processes of many threads each would wait for another
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import matplotlib
import mne
import numpy as np
import pytest
from mne.io.constants import FIFF
from recordings import CENTER, read_auditory

from mne_invkit.datasets import load_sep
from mne_invkit.heads.template import template_forward, template_source_space, template_trans

matplotlib.use("Agg")


def pytest_addoption(parser):
    parser.addoption(
        "--sample", type=int, metavar="N", help="run N of the tests, spread evenly over all"
    )


@pytest.hookimpl(trylast=True)  # after `-m` has chosen
def pytest_collection_modifyitems(config, items):
    n = config.getoption("--sample")
    if n and n < len(items):
        kept = {k * len(items) // n for k in range(n)}
        config.hook.pytest_deselected(items=[t for k, t in enumerate(items) if k not in kept])
        items[:] = [test for k, test in enumerate(items) if k in kept]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Keep the template in the user's cache if one is set, else in a temporary folder."""
    with pytest.MonkeyPatch.context() as patch:
        if not os.environ.get("MNE_INVKIT_CACHE"):
            folder = tmp_path_factory.getbasetemp()
            folder = folder.parent if PARALLEL else folder  # that of all processes
            patch.setenv("MNE_INVKIT_CACHE", str(folder / "cache"))
        yield


@pytest.fixture(scope="session")
def shared_data():
    """Folder of the real recordings, which a newcomer does not have."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MNE_INVKIT_DATA") or beside)
    if not (folder / "sample_subject").is_dir():
        pytest.skip("real recordings not found: set MNE_INVKIT_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def auditory(shared_data):
    """What :func:`read_auditory` reads."""
    return read_auditory(shared_data)


# %% Sensors


@pytest.fixture(scope="session")
def eeg_info():
    """32 electrodes."""
    montage = mne.channels.make_standard_montage("biosemi32")
    return mne.create_info(montage.ch_names, 100.0, "eeg").set_montage(montage)


@pytest.fixture(scope="session")
def meeg_info(eeg_info):
    """30 magnetometers and 60 planar gradiometers around a sphere, and 32 electrodes."""
    kinds = ["mag"] * 30 + ["grad"] * 60
    names = [f"MEG {k:03d}" for k in range(len(kinds))]
    meg = mne.create_info(names, eeg_info["sfreq"], kinds)
    coils = dict(mag=FIFF.FIFFV_COIL_POINT_MAGNETOMETER, grad=FIFF.FIFFV_COIL_VV_PLANAR_T1)
    site = np.r_[np.arange(30), np.repeat(np.arange(30), 2)]
    up = 1 - (site + 0.5) / 30  # a spiral over the upper hemisphere
    turn = np.pi * (3 - np.sqrt(5)) * site
    outward = np.column_stack([np.cos(turn), np.sin(turn), up])
    outward[:, :2] *= np.sqrt(1 - up[:, None] ** 2)
    for k, (ch, kind, ez) in enumerate(zip(meg["chs"], kinds, outward, strict=True)):
        ex = np.cross(ez, [0.1, 0.2, 1.0])
        ex /= np.linalg.norm(ex)
        ey = np.cross(ez, ex)
        ch["coil_type"] = coils[kind]
        axes = (ex, ey, ez) if k % 2 else (ey, -ex, ez)
        ch["loc"] = np.concatenate([CENTER + 0.13 * ez, *axes])
    raw = mne.io.RawArray(np.zeros((90, 1)), meg, verbose=False)
    raw.add_channels([mne.io.RawArray(np.zeros((32, 1)), eeg_info, verbose=False)], True)
    raw.info["dev_head_t"] = mne.transforms.Transform("meg", "head")
    return raw.info


# %% Forward solutions


@pytest.fixture(scope="session")
def sphere():
    """Four concentric spheres, wide enough for the template's cortex."""
    return mne.make_sphere_model(r0=CENTER, head_radius=0.11, verbose=False)


@pytest.fixture(scope="session")
def discrete():
    """60 discrete sources that point outward."""
    nn = np.random.default_rng(1).standard_normal((60, 3))
    nn /= np.linalg.norm(nn, axis=1, keepdims=True)
    radius = np.random.default_rng(2).uniform(0.02, 0.06, (60, 1))
    pos = dict(rr=CENTER + radius * nn, nn=nn)
    return mne.setup_volume_source_space(pos=pos, verbose=False)


@pytest.fixture(scope="session")
def forwards(eeg_info, sphere, discrete):
    """One EEG forward solution for every kind of source space."""
    surface = template_forward(eeg_info, spacing="ico3", verbose=False)
    mixed = surface["src"] + discrete
    return dict(
        surface=surface,
        volume=template_forward(eeg_info, "volume", pos=20.0, verbose=False),
        discrete=mne.make_forward_solution(eeg_info, None, discrete, sphere, verbose=False),
        mixed=mne.make_forward_solution(eeg_info, None, mixed, sphere, verbose=False),
    )


@pytest.fixture(scope="session")
def meeg_forward(meeg_info, sphere):
    """Forward solution of the cortex for MEG and EEG."""
    src = template_source_space(spacing="ico3", verbose=False)
    return mne.make_forward_solution(
        meeg_info, template_trans(), src, sphere, mindist=3.0, verbose=False
    )


# %% Recordings


@pytest.fixture(scope="session")
def make_cov():
    """Make a noise covariance with correlated channels and full rank."""

    def make_cov(info, rng=0):
        std = np.sqrt(mne.make_ad_hoc_cov(info, verbose=False)["data"])
        noise = np.random.default_rng(rng).standard_normal((len(std), 4 * len(std)))
        noise *= std[:, None] / np.sqrt(noise.shape[1])
        return mne.Covariance(noise @ noise.T, info.ch_names, [], [], noise.shape[1])

    return make_cov


@pytest.fixture(scope="session")
def make_evoked():
    """Make an Evoked of noise with an average reference."""

    def make_evoked(info, nave=1, n_times=12, rng=0):
        std = np.sqrt(mne.make_ad_hoc_cov(info, verbose=False)["data"])
        data = std[:, None] * np.random.default_rng(rng).standard_normal((len(std), n_times))
        evoked = mne.EvokedArray(data, info, tmin=-0.02, nave=nave, verbose=False)
        if "eeg" in evoked:
            evoked.set_eeg_reference("average", projection=True, verbose=False)
        return evoked

    return make_evoked


@pytest.fixture(scope="session")
def eeg_cov(make_cov, eeg_info):
    return make_cov(eeg_info)


@pytest.fixture
def eeg_evoked(make_evoked, eeg_info):
    return make_evoked(eeg_info)


@pytest.fixture(scope="session")
def sep():
    """Real somatosensory potentials; do not change them in place."""
    return load_sep(verbose=False)
