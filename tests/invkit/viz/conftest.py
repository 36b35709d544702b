"""Source spaces of the template, and estimates with one source."""

import mne
import numpy as np
import pytest

from mne_invkit.heads.template import SUBJECT, template_source_space
from mne_invkit.inverse.stc import STC_CLASSES, source_positions


@pytest.fixture(scope="session")
def surface_src():
    return template_source_space("surface", spacing="ico3", verbose=False)


@pytest.fixture(scope="session")
def volume_src():
    return template_source_space("volume", pos=20.0, verbose=False)


@pytest.fixture(scope="session")
def make_stc():
    """Make an estimate with one source, next to a position (mm), at 10 of 0 to 30 ms."""

    def make_stc(src, position, vector=False):
        points = 1e3 * source_positions(src)
        data = np.zeros((len(points), 4))
        data[np.linalg.norm(points - position, axis=1).argmin(), 1] = 2e-8
        if vector:
            data = data[:, None] * np.array([0.6, 0.0, -0.8])[:, None]
        vertices = [s["vertno"] for s in src]
        return STC_CLASSES[src.kind, vector](data, vertices, 0.0, 0.01, subject=SUBJECT)

    return make_stc


@pytest.fixture(scope="session")
def keep_active():
    """Make an estimate on the cortex sparse: drop the locations that are silent."""

    def keep_active(stc):
        active = np.abs(stc.data).max(axis=1) > 0
        masks = np.split(active, [len(stc.vertices[0])])
        vertices = [v[mask] for v, mask in zip(stc.vertices, masks, strict=True)]
        return mne.SourceEstimate(stc.data[active], vertices, stc.tmin, stc.tstep, stc.subject)

    return keep_active


@pytest.fixture
def no_rendering(monkeypatch):
    """Draw by matplotlib alone."""
    monkeypatch.setattr("mne_invkit.viz.render.can_render", lambda: False)
