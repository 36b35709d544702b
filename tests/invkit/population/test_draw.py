"""Random heads: finite gains, montages, seeds that decide, files that survive."""

import mne
import numpy as np
import pytest

from mne_invkit.heads.surfaces import icosphere, template_shells
from mne_invkit.population import draw as population
from mne_invkit.population import montages
from mne_invkit.population import shape as anatomy
from mne_invkit.population.draw import Population, draw_montage, head_kind, make_head
from mne_invkit.population.forward import compute_gain, head_forward
from mne_invkit.population.head import Head
from mne_invkit.population.sensors import Sensors, draw_coils
from mne_invkit.population.shape import Anatomy, draw_anatomy, perturb_anatomy

SEEDS = {("volume", False): 0, ("cortex", False): 1, ("volume", True): 2, ("cortex", True): 5}


def draw(seed=0):
    """Draw a head and one that is almost the same."""
    rng = np.random.default_rng(seed)
    head = draw_anatomy(rng)
    return head, perturb_anatomy(head, rng)


def angle_error(a, b):
    """Difference between the directions of the columns of two matrices."""
    a, b = (x / np.linalg.norm(x, axis=0) for x in (a, b))
    return np.linalg.norm(a - b, axis=0)


def average_reference(gain):
    return gain - gain.mean(axis=0)


@pytest.fixture(scope="module")
def coarse():
    """Shells of 162 vertices, on which the boundary elements take little time."""
    tris = icosphere(2)[1]
    with pytest.MonkeyPatch.context() as patch:
        rr = template_shells()["inner_skull"][0][: tris.max() + 1]
        patch.setattr(anatomy, "_template", lambda: (rr, tris))
        patch.setattr(population, "_SPACINGS", ("ico3",))
        yield


@pytest.fixture(scope="module")
def heads(coarse):
    """One head of each kind, from different seeds."""
    return {kind: make_head(seed, sources=kind[0], meg=kind[1]) for kind, seed in SEEDS.items()}


@pytest.fixture(scope="module")
def eeg_head(heads):
    return heads["volume", False]


@pytest.fixture(scope="module")
def meeg_head(heads):
    """A head in a helmet with magnetometers and gradiometers."""
    return heads["cortex", True]


# %% Gains


def sphere(directions, tris):
    """Concentric spheres of 80, 86 and 92 mm."""
    ones = np.ones(len(directions))
    return Anatomy(
        size=1.0, origin=np.array([0.01, -0.005, 0.04]), directions=directions, tris=tris,
        inner=0.08 * ones, skull=0.006 * ones, scalp=0.006 * ones, up=directions[:, 2], warp=None,
    )  # fmt: skip


def test_depth_in_a_sphere():
    directions, tris = icosphere(3)
    ball = sphere(directions, tris)
    points = np.random.default_rng(0).uniform(-0.1, 0.1, (400, 3)) + ball.origin
    expected = ball.inner[0] - np.linalg.norm(points - ball.origin, axis=1)
    np.testing.assert_allclose(ball.depth(points), expected, atol=1.5e-3)
    assert (np.sign(ball.depth(points)) == np.sign(expected))[np.abs(expected) > 1e-3].all()


def test_gain_is_that_of_spheres():
    ball, rng = sphere(*icosphere(3)), np.random.default_rng(0)
    coils = draw_coils(ball, np.random.default_rng(1))
    assert set(coils.kinds) == {"mag", "grad"}
    rays = rng.standard_normal((60, 3)) * [1, 1, 0.3] + [0, 0, 0.5]
    names = np.array([f"E{k}" for k in range(len(rays))])
    kinds = np.full(len(rays), "eeg")
    rr = ball.on_skin(ball.origin + rays)
    sensors = Sensors(names, kinds, rr, np.zeros((len(rays), 3, 3))) + coils
    directions = rng.standard_normal((40, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    positions = ball.origin + 0.06 * directions
    gain = compute_gain(ball, (0.3, 0.01, 0.4), sensors, positions)
    assert gain.dtype == np.float32

    model = mne.make_sphere_model(
        ball.origin, 0.092, sigmas=(0.3, 0.01, 0.4), relative_radii=(80 / 92, 86 / 92, 1),
        verbose=False,
    )  # fmt: skip
    src = mne.setup_volume_source_space(pos=dict(rr=positions, nn=directions), verbose=False)
    forward = mne.make_forward_solution(sensors.to_info(), None, src, model, verbose=False)
    forward = mne.pick_channels_forward(
        forward, sensors.names.tolist(), ordered=True, verbose=False
    )
    expected = forward["sol"]["data"]
    eeg = sensors.kinds == "eeg"
    found, true = average_reference(gain[eeg]), average_reference(expected[eeg])
    assert np.median(angle_error(found, true)) < 0.05
    np.testing.assert_allclose(
        np.linalg.norm(found, axis=0), np.linalg.norm(true, axis=0), rtol=0.15
    )
    for kind in ("mag", "grad"):
        found, true = gain[sensors.kinds == kind], expected[sensors.kinds == kind]
        assert np.linalg.norm(found - true) < 0.06 * np.linalg.norm(true)


@pytest.mark.parametrize("sources", ["volume", "cortex"])
@pytest.mark.parametrize("meg", [False, True])
def test_two_gains_are_alike_but_not_equal(heads, sources, meg):
    head = heads[sources, meg]
    shape = len(head.names), 3 * len(head.positions)
    assert head.gain.shape == head.data_gain.shape == shape
    assert head.gain.dtype == head.data_gain.dtype == np.float32
    assert len(head.sensors) == len(head.kinds) == len(head.names) == len(set(head.names))
    assert (head.normals is None) == (sources == "volume")
    assert ("mag" in head.kinds) == meg
    for kind in set(head.kinds):
        gain, other = (g[head.kinds == kind] for g in (head.gain, head.data_gain))
        if kind == "eeg":
            gain, other = average_reference(gain), average_reference(other)
        assert np.isfinite(gain).all()
        assert np.isfinite(other).all()
        error = angle_error(gain, other)
        assert error.min() > 0
        assert 0.01 < np.median(error) < np.sqrt(2 * (1 - 0.8))  # a correlation of 0.8
        ratio = np.linalg.norm(other, axis=0) / np.linalg.norm(gain, axis=0)
        assert 0.3 < np.median(ratio) < 3


def test_gains_have_plausible_magnitudes(meeg_head):
    typical = {
        str(kind): np.median(np.abs(meeg_head.gain[meeg_head.kinds == kind]).max(axis=1))
        for kind in set(meeg_head.kinds)
    }
    assert 50 < typical["eeg"] < 3000  # V/(A m)
    assert 1e-7 < typical["mag"] < 1e-4  # T/(A m)
    assert 3 < typical["grad"] / typical["mag"] < 300  # 1/m


def test_nearest_electrodes_see_a_source_best(heads):
    head = heads["cortex", False]
    distance = np.linalg.norm(head.positions[:, None] - head.sensors, axis=2)
    shallow = distance.min(axis=1) < 0.025
    gain = average_reference(head.gain).reshape(len(head.sensors), -1, 3)
    norms = np.linalg.norm(gain, axis=2)
    best = distance[np.arange(len(distance)), norms.argmax(axis=0)]
    assert shallow.sum() > 10
    assert np.median((best - distance.min(axis=1))[shallow]) < 0.015


# %% Forward solutions


def test_forward_of_a_head(meeg_head):
    """Gains, channels and sources survive, in whatever order the channels come."""
    rows = np.random.default_rng(0).permutation(len(meeg_head.names))[:150]
    head = meeg_head.pick(rows)
    forward = head_forward(head)
    np.testing.assert_array_equal(forward["sol"]["data"], head.gain)
    np.testing.assert_array_equal(head_forward(head, data=True)["sol"]["data"], head.data_gain)
    info = forward["info"]
    assert info["ch_names"] == forward["sol"]["row_names"] == head.names.tolist()
    assert info.get_channel_types() == head.kinds.tolist()
    np.testing.assert_allclose([ch["loc"][:3] for ch in info["chs"]], head.sensors, atol=1e-7)
    np.testing.assert_allclose(forward["source_rr"], head.positions, atol=1e-7)

    fixed = mne.convert_forward_solution(
        forward, surf_ori=True, force_fixed=True, use_cps=False, verbose=False
    )
    normals = head.normals[:, :, None]
    along = (head.gain.reshape(len(rows), -1, 1, 3) @ normals)[:, :, 0, 0]
    np.testing.assert_allclose(fixed["sol"]["data"], along, atol=1e-5 * np.abs(along).max())


def test_mne_solves_on_the_forward_of_a_head(eeg_head):
    """Noise-free fields of single sources, whose places eLORETA finds."""
    head = eeg_head.pick(montages.farthest_points(eeg_head.sensors, 64, 0))
    forward, which = head_forward(head), np.array([100, 900, 1700])
    info = Sensors(head.names, head.kinds, head.sensors, np.zeros((64, 3, 3))).to_info()
    evoked = mne.EvokedArray(1e-8 * head.gain[:, 3 * which], info, nave=1, verbose=False)
    evoked.set_eeg_reference("average", projection=True, verbose=False)
    noise_cov = mne.make_ad_hoc_cov(info, std=dict(eeg=1e-8), verbose=False)
    inverse = mne.minimum_norm.make_inverse_operator(
        evoked.info, forward, noise_cov, loose=1.0, depth=None, verbose=False
    )
    stc = mne.minimum_norm.apply_inverse(evoked, inverse, 1e-4, "eLORETA", verbose=False)
    found = head.positions[stc.data.argmax(axis=0)]
    assert np.linalg.norm(found - head.positions[which], axis=1).max() < 0.01


# %% Seeds


def test_seed_decides(eeg_head, coarse):
    same = make_head(eeg_head.seed, sources="volume", meg=False)
    for name in ("positions", "gain", "data_gain", "sensors", "names"):
        np.testing.assert_array_equal(getattr(same, name), getattr(eeg_head, name))
    other = make_head(eeg_head.seed + 1, sources="volume", meg=False)
    assert np.abs(other.sensors - same.sensors).max() > 1e-3
    assert other.positions.shape != same.positions.shape


def test_kinds_are_drawn_from_the_seed():
    kinds = [head_kind(seed) for seed in range(300)]
    assert kinds == [head_kind(seed) for seed in range(300)]
    sources, meg = zip(*kinds, strict=True)
    assert 0.4 < np.mean(np.array(sources) == "cortex") < 0.6
    assert 0.25 < np.mean(meg) < 0.42
    assert head_kind(0, sources="cortex", meg=True) == ("cortex", True)
    with pytest.raises(ValueError, match='sources must be "volume", "cortex" or None'):
        make_head(0, sources="surface")


def test_gain_that_is_not_finite_is_drawn_again(eeg_head, monkeypatch):
    drawn = []

    def broken_once(seed, rng, sources, meg):
        drawn.append(rng.random())
        gain = eeg_head.gain * np.float32(np.nan if len(drawn) == 1 else 1)
        return Head(**vars(eeg_head) | dict(data_gain=gain))

    monkeypatch.setattr(population, "_draw_head", broken_once)
    assert np.isfinite(make_head(0).data_gain).all()
    assert len(set(drawn)) == 2


# %% Montages


def test_montages_of_electrodes(eeg_head):
    rng = np.random.default_rng(0)
    sizes, named = [], 0
    for _ in range(200):
        rows = draw_montage(eeg_head, rng)
        assert (np.diff(rows) > 0).all()
        assert set(eeg_head.kinds[rows]) == {"eeg"}
        sizes.append(len(rows))
        named += set(eeg_head.names[rows]) <= set(montages.cap_names("easycap-M1"))
    assert min(sizes) == montages.MIN_EEG
    assert 200 < max(sizes) <= montages.MAX_EEG
    assert 20 < named < 100
    assert len(set(sizes)) > 50


def test_montages_with_meg(meeg_head):
    rng, seen = np.random.default_rng(0), set()
    for _ in range(200):
        rows = draw_montage(meeg_head, rng)
        assert (np.diff(rows) > 0).all()
        kinds = meeg_head.kinds[rows]
        seen.add(frozenset(kinds.tolist()))
        if set(kinds) != {"eeg"}:
            assert 60 <= np.sum(kinds != "eeg") <= 306
    meg = [{"mag"}, {"grad"}, {"mag", "grad"}]
    assert seen == {frozenset(k) for k in [{"eeg"}, *meg, *({"eeg"} | kind for kind in meg)]}


def test_spread_electrodes_and_a_missing_patch(eeg_head):
    sensors = eeg_head.sensors
    rows = montages.farthest_points(sensors, 64, 0)
    assert len(set(rows)) == 64
    apart = np.linalg.norm(sensors[rows, None] - sensors[rows], axis=2)
    nearest = np.sort(apart, axis=1)[:, 1]
    assert nearest.min() > 0.5 * nearest.max()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        kept = montages._without_patch(eeg_head, rows, 12, rng)
        lost = np.setdiff1d(rows, kept)
        assert 1 <= len(lost) <= 12
        assert len(kept) + len(lost) == len(rows)
        reach = np.linalg.norm(sensors[lost, None] - sensors[lost], axis=2)
        assert reach.min(axis=1).max() == 0
        assert reach.max() < 0.13


@pytest.mark.parametrize("cap", montages.CAPS)
def test_caps_are_among_the_electrodes(eeg_head, cap):
    names = set(montages.cap_names(cap))
    assert len(names) >= montages.MIN_EEG
    assert names - set(eeg_head.names) <= {"O9", "O10"}


def test_pick_keeps_rows(eeg_head):
    rows = draw_montage(eeg_head, np.random.default_rng(1))
    picked = eeg_head.pick(rows)
    np.testing.assert_array_equal(picked.gain, eeg_head.gain[rows])
    np.testing.assert_array_equal(picked.names, eeg_head.names[rows])
    assert picked.positions is eeg_head.positions


# %% Files


@pytest.mark.parametrize("kind", [("volume", False), ("cortex", True)])
def test_file_keeps_the_head(heads, kind, tmp_path):
    head, path = heads[kind], tmp_path / "head.npz"
    head.save(path)
    read = Head.load(path)
    assert read.seed == head.seed
    for name in ("gain", "data_gain"):
        was, now = getattr(head, name), getattr(read, name)
        assert now.dtype == np.float32
        scale = np.abs(was).max(axis=1, keepdims=True)
        assert (np.abs(now - was) <= 5e-4 * np.abs(was) + 1e-11 * scale).all()
    for name in ("positions", "sensors"):
        np.testing.assert_allclose(getattr(read, name), getattr(head, name), atol=1e-7)
    np.testing.assert_array_equal(read.kinds, head.kinds)
    np.testing.assert_array_equal(read.names, head.names)
    if kind[0] == "cortex":
        np.testing.assert_allclose(read.normals, head.normals, atol=1e-6)
    else:
        assert read.normals is None
    assert path.stat().st_size < 4.2 * head.gain.size + 1e6
    assert [p.name for p in tmp_path.iterdir()] == ["head.npz"]


def test_population_resumes_after_an_interruption(heads, tmp_path, monkeypatch):
    made = []

    def make(seed, *, sources, meg):
        made.append(seed)
        if len(made) == 2:
            raise KeyboardInterrupt
        return Head(**vars(heads[sources, meg]) | dict(seed=seed))

    monkeypatch.setattr(population, "make_head", make)
    many = Population(tmp_path / "heads", [7, 8, 9], sources="volume", meg=False)
    with pytest.raises(FileNotFoundError, match=r"call the method build\(\) first"):
        many[0]
    with pytest.raises(KeyboardInterrupt):
        many.build(n_jobs=1, verbose=False)
    left_over = many.folder / ".writing-killed"
    left_over.mkdir()
    (left_over / many.path(1).name).write_bytes(b"half a file")
    many.build(n_jobs=1, verbose=False)
    assert made == [7, 8, 8, 9]
    assert (len(many), [many[i].seed for i in range(3)]) == (3, [7, 8, 9])
    many.build(n_jobs=1, verbose=False)
    assert len(made) == 4


def test_failed_write_leaves_nothing(eeg_head, tmp_path, monkeypatch):
    def half(path, **values):
        path.write_bytes(b"half a file")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(OSError, match="disk full"):
        eeg_head.save(tmp_path / "head.npz")
    assert not list(tmp_path.iterdir())


def test_population_names_files_by_seed_and_kind(tmp_path):
    many = Population(tmp_path, 4)
    assert many.seeds == (0, 1, 2, 3)
    assert [many.kinds[i] for i in range(4)] == [head_kind(i) for i in range(4)]
    assert Population(tmp_path, [12], sources="cortex", meg=True).path(0).name == (
        "head-000012-cortex-meeg.npz"
    )
