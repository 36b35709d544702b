"""Two random heads on coarse shells: a volume with EEG, and a cortex with EEG and MEG."""

from contextlib import contextmanager
from functools import partial

import pytest

from mne_invkit.heads.surfaces import icosphere, template_shells
from mne_invkit.population.draw import make_head
from mne_invkit.population.shape import draw_grid


@contextmanager
def coarse_heads():
    """Give heads shells of 162 vertices and few locations, which takes seconds."""
    tris = icosphere(2)[1]
    rr = template_shells()["inner_skull"][0][: tris.max() + 1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mne_invkit.population.shape._template", lambda: (rr, tris))
        patch.setattr("mne_invkit.population.draw._SPACINGS", ("ico3",))
        patch.setattr("mne_invkit.population.draw.draw_grid", partial(draw_grid, spacing=0.01))
        yield


@pytest.fixture
def coarse():
    with coarse_heads():
        yield


@pytest.fixture(scope="session")
def eeg_head():
    with coarse_heads():
        return make_head(0, src="volume", meg=False)


@pytest.fixture(scope="session")
def meeg_head():
    """A head in a helmet with magnetometers and gradiometers."""
    with coarse_heads():
        return make_head(5, src="cortex", meg=True)


@pytest.fixture(params=["eeg_head", "meeg_head"])
def head(request):
    return request.getfixturevalue(request.param)
