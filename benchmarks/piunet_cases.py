"""Heads, solvers and forward solutions that the benchmarks of 3D-PIUNet run on."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path

import mne
import numpy as np
import pooch

from mne_invkit.heads.template import template_forward, template_source_space
from mne_invkit.inverse.stc import source_positions
from mne_invkit.population.draw import Population
from mne_invkit.population.forward import head_forward
from mne_invkit.population.head import Head
from mne_invkit.population.montages import farthest_points
from mne_invkit.population.sensors import Sensors
from mne_kronbayes import apply_kron_bayes
from mne_piunet import apply_piunet, make_piunet
from mne_piunet.inference import torch_network
from mne_piunet.kernel.champagne import SWEEPS
from mne_piunet.kernel.inputs import FLOOR, MASK, N_MOMENTS, N_PATCHES
from mne_piunet.kernel.pursuit import N_STEPS
from mne_piunet.net.unet import run_network

CONDUCTIVITY, DATA_CONDUCTIVITY = (0.3, 0.006, 0.3), (0.3, 0.012, 0.3)  # brain, skull, scalp
NOISE = 1e-6  # V
CACHE = Path(os.environ.get("MNE_INVKIT_CACHE") or pooch.os_cache("mne-invkit"))


# %% Heads


HEADS = {  # seeds that neither training (0, 1, ...) nor validation (10,000, ...) uses
    "volume, 32": (20_000, "volume", 32),
    "cortex, 32": (20_001, "cortex", 32),
    "volume, 64": (20_002, "volume", 64),
    "cortex, 64": (20_003, "cortex", 64),
    "volume, 128": (20_004, "volume", 128),
    "cortex, 256": (20_005, "cortex", 256),
}
SAMPLE = "sample subject, 60"


def build_heads(folder: Path) -> list[str]:
    """Compute the heads that are missing; returns the names of those that can be had."""
    for seed, sources, _ in HEADS.values():
        Population(folder, [seed], src=sources, meg=False).build(n_jobs=1)
    if not _sample_file(folder).exists():
        try:
            sample_head().save(_sample_file(folder))
        except FileNotFoundError as error:
            print(f"{error} Going on without it.")
            return list(HEADS)
    return [*HEADS, SAMPLE]


def read_head(name: str, folder: Path) -> Head:
    """Read a head with its electrodes."""
    if name == SAMPLE:
        return Head.load(_sample_file(folder))
    seed, sources, n_electrodes = HEADS[name]
    head = Population(folder, [seed], src=sources, meg=False)[0]
    return head.pick(farthest_points(head.sensors, n_electrodes, 0))


def sample_head() -> Head:
    """MNE's sample subject: 60 electrodes, moved by 2 mm in the head that makes the data."""
    info = mne.pick_info(sample_info(), mne.pick_types(sample_info(), meg=False, eeg=True))
    moved = info.copy()
    rng = np.random.default_rng(0)
    for ch in moved["chs"]:
        ch["loc"][:3] += 0.002 * rng.standard_normal(3)
    return as_head(
        sample_forward(info, conductivity=CONDUCTIVITY),
        sample_forward(moved, conductivity=DATA_CONDUCTIVITY),
    )


def template_head() -> Head:
    """The template with 32 electrodes and few sources, quickly made."""
    info = standard_info("biosemi32")
    return as_head(
        *(template_forward(info, spacing="ico3", conductivity=c)
          for c in (CONDUCTIVITY, DATA_CONDUCTIVITY))
    )  # fmt: skip


def as_head(forward: mne.Forward, data_forward: mne.Forward) -> Head:
    """Two forward solutions of the same sources as a head."""
    info, src = forward["info"], forward["src"]
    normals = np.concatenate([s["nn"][s["vertno"]] for s in src])
    return Head(
        seed=-1,
        positions=forward["source_rr"],
        normals=normals if src.kind == "surface" else None,
        gain=forward["sol"]["data"].astype(np.float32),
        data_gain=data_forward["sol"]["data"].astype(np.float32),
        sensors=np.array([ch["loc"][:3] for ch in info["chs"]]),
        kinds=np.array(info.get_channel_types()),
        names=np.array(info["ch_names"]),
    )


def _sample_file(folder: Path) -> Path:
    return folder / "head-sample.npz"


# %% The sample subject


def sample_folder() -> Path:
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MNE_INVKIT_DATA") or beside) / "sample_subject"
    if not folder.is_dir():
        raise FileNotFoundError("The sample subject is not found: set MNE_INVKIT_DATA.")
    return folder


def sample_info() -> mne.Info:
    """306 MEG channels and 60 electrodes."""
    return mne.read_evokeds(sample_folder() / "sample_auditory-ave.fif.gz")[0].info


def sample_forward(
    info: mne.Info, pos: float = 7.0, conductivity: tuple[float, ...] | None = None
) -> mne.Forward:
    """Forward solution of a volume (mm): a fine model of these conductivities, or a coarse one."""
    folder = sample_folder()
    if conductivity is None:
        bem = mne.read_bem_solution(folder / "sample-320-320-320-bem-sol.fif")
    else:
        surfaces = mne.read_bem_surfaces(folder / "sample-1280-1280-1280-bem.fif")
        inwards = sorted(surfaces, key=lambda s: s["id"])  # the brain has the least number
        for surface, sigma in zip(inwards, conductivity, strict=True):
            surface["sigma"] = sigma
        bem = mne.make_bem_solution(surfaces)
    src = mne.setup_volume_source_space(
        pos=pos, surface=folder / "inner_skull.surf", mindist=5.0, add_interpolator=False
    )
    return mne.make_forward_solution(info, folder / "sample-trans.fif", src, bem)


# %% Solvers: bench in, function from evoked to vector estimate out


@dataclass(eq=False)
class Bench:
    """A head of electrodes in terms of MNE, white noise, and solvers that are prepared once."""

    head: Head
    model: str

    def __post_init__(self):
        self._solvers = {}
        self.forward = head_forward(self.head)
        self.noise_cov = mne.Covariance(
            np.full(len(self.head.names), NOISE**2), self.head.names.tolist(), [], [], 0
        )

    @cached_property
    def info(self) -> mne.Info:
        """Electrodes with an average reference."""
        return self.evoked(np.zeros(len(self.head.names))).info

    def evoked(self, data: np.ndarray) -> mne.EvokedArray:
        """One sample or several, with an average reference."""
        axes = np.zeros((len(self.head.names), 3, 3))
        info = Sensors(self.head.names, self.head.kinds, self.head.sensors, axes).to_info()
        evoked = mne.EvokedArray(data.reshape(len(data), -1), info, nave=1)
        return evoked.set_eeg_reference("average", projection=True)

    def solver(self, name: str) -> Callable:
        """From an Evoked to a vector source estimate."""
        if name not in self._solvers:
            self._solvers[name] = SOLVERS[name](self)
        return self._solvers[name]


@lru_cache(maxsize=1)
def load_bench(name: str, folder: Path, model: str) -> Bench:
    """Read a head once in each process."""
    return Bench(read_head(name, folder), model)


def piunet(bench):
    operator = make_piunet(bench.info, bench.forward, bench.noise_cov, model=bench.model)
    return partial(apply_piunet, forward=operator, pick_ori="vector")


def minimum_norm(bench, method):
    depth = None if method == "eLORETA" else 0.8
    inverse = mne.minimum_norm.make_inverse_operator(
        bench.info, bench.forward, bench.noise_cov, loose=1.0, depth=depth
    )
    options = dict(lambda2=1 / 9, method=method)
    inverse = mne.minimum_norm.prepare_inverse_operator(inverse, nave=1, **options)
    return partial(
        mne.minimum_norm.apply_inverse, inverse_operator=inverse, prepared=True,
        pick_ori="vector", **options,
    )  # fmt: skip


def lcmv(bench):
    """LCMV with the noise covariance plus that of the only sample: one allows no better."""

    def solve(evoked):
        data_cov = mne.Covariance(
            np.diag(bench.noise_cov["data"]) + evoked.data @ evoked.data.T,
            evoked.ch_names, [], bench.info["projs"], 1,
        )  # fmt: skip
        filters = mne.beamformer.make_lcmv(
            bench.info, bench.forward, data_cov, noise_cov=bench.noise_cov, pick_ori="vector"
        )
        return mne.beamformer.apply_lcmv(evoked, filters)

    return solve


def gamma_map(bench):
    return partial(
        mne.inverse_sparse.gamma_map, forward=bench.forward, noise_cov=bench.noise_cov, alpha=1.0,
        pick_ori="vector",
    )  # fmt: skip


def mixed_norm(bench):
    return partial(
        mne.inverse_sparse.mixed_norm, forward=bench.forward, noise_cov=bench.noise_cov,
        alpha="sure", pick_ori="vector", rng=0,
    )  # fmt: skip


def kronbayes(bench):
    """Dugh wants two samples: the only one and its negative, white in time, have its likelihood."""

    def solve(evoked):
        twice = bench.evoked(np.hstack([evoked.data, -evoked.data]))
        stc = apply_kron_bayes(
            twice, bench.forward, bench.noise_cov, temporal="identity", pick_ori="vector"
        )
        return stc.crop(0, 0)

    return solve


SOLVERS = {
    "piunet": piunet,
    "MNE": partial(minimum_norm, method="MNE"),
    "dSPM": partial(minimum_norm, method="dSPM"),
    "sLORETA": partial(minimum_norm, method="sLORETA"),
    "eLORETA": partial(minimum_norm, method="eLORETA"),
    "LCMV": lcmv,
    "gamma_map": gamma_map,
    "mixed_norm": mixed_norm,
    "kronbayes": kronbayes,
}


# %% What the network starts from, as functions from its inputs to strengths


def starts(weights) -> dict[str, Callable]:
    sparse = N_MOMENTS + N_PATCHES - len(SWEEPS)
    sharp = sparse - N_STEPS - 1
    return {
        "network": partial(run_network, torch_network(weights)),
        "first patch": partial(patch_strength, channel=sharp),
        "all patches": partial(patch_strength, channel=sharp + N_STEPS),
        **{
            f"sparse learning, sweep {sweep}": partial(patch_strength, channel=sparse + k)
            for k, sweep in enumerate(SWEEPS)
        },
        "eLORETA": lambda inputs: np.linalg.norm(inputs[:, 3:6], axis=1)[:, None].repeat(4, 1),
    }


def patch_strength(inputs: np.ndarray, channel: int) -> np.ndarray:
    """Strengths behind the logarithms of a channel of patches."""
    strength = FLOOR ** (1 - inputs[:, [channel] * 4]) - FLOOR
    return np.maximum(strength, 0) * inputs[:, [MASK]]


# %% Cases: info, forward solution, noise covariance


TEN_TWENTY = "Fp1 Fp2 F7 F3 Fz F4 F8 T7 C3 Cz C4 T8 P7 P3 Pz P4 P8 O1 O2"
CENTER = np.array([0, 0, 0.04])


def standard_info(montage: str, names: list[str] | None = None) -> mne.Info:
    montage = mne.channels.make_standard_montage(montage)
    return mne.create_info(names or montage.ch_names, 600.0, "eeg").set_montage(montage)


def template_case(montage="biosemi64", names=None, fixed=False, **options):
    info = standard_info(montage, names)
    forward = template_forward(info, **options)
    if fixed:
        forward = mne.convert_forward_solution(forward, surf_ori=True, force_fixed=True)
    return info, forward, mne.make_ad_hoc_cov(info)


def mixed_case():
    """Cortex, and a volume in the middle of the head."""
    cortex = template_source_space(spacing="ico4")
    volume = template_source_space("volume", pos=7.0)
    positions = source_positions(volume)
    deep = np.linalg.norm(positions - positions.mean(axis=0), axis=1) < 0.035
    volume[0]["vertno"] = volume[0]["vertno"][deep]
    volume[0]["inuse"][:] = 0
    volume[0]["inuse"][volume[0]["vertno"]] = 1
    volume[0]["nuse"] = int(deep.sum())
    return template_case(src=cortex + volume)


def sphere_case():
    info = standard_info("biosemi64")
    sphere = mne.make_sphere_model(CENTER, head_radius=0.095)
    src = mne.setup_volume_source_space(
        pos=7.0, sphere=(*CENTER, 0.08), sphere_units="m", mindist=5.0, add_interpolator=False
    )
    return info, mne.make_forward_solution(info, None, src, sphere), mne.make_ad_hoc_cov(info)


def sample_case(meg=True, eeg=True, pos=7.0):
    info = sample_info()
    info = mne.pick_info(info, mne.pick_types(info, meg=meg, eeg=eeg))
    return info, sample_forward(info, pos), mne.make_ad_hoc_cov(info)


CASES = {
    "10-20, 19 electrodes": partial(template_case, "standard_1020", TEN_TWENTY.split()),
    "306 MEG": partial(sample_case, eeg=False),
    "306 MEG and 60 EEG": sample_case,
    "cortex, ico4, fixed": partial(template_case, fixed=True),
    "cortex, oct6, free": partial(template_case, spacing="oct6"),
    "volume, 5 mm": partial(template_case, src="volume", pos=5.0),
    "volume, 10 mm": partial(template_case, src="volume", pos=10.0),
    "cortex and volume": mixed_case,
    "sphere": sphere_case,
}


def _sixty():
    names = mne.channels.make_standard_montage("biosemi64").ch_names[:60]
    return template_case(names=names, spacing="oct6")


SPEED_CASES = {"60 EEG, oct6": _sixty, "306 MEG and 60 EEG, 4 mm": partial(sample_case, pos=4.0)}
