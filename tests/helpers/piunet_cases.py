"""Small networks, recipes and heads of the tests of mne_piunet."""

import numpy as np

from mne_invkit.population.head import Head
from mne_piunet.training.recipe import Recipe

NETWORK = dict(widths=(8, 16), n_residual=(1, 1), block_side=2)
"""Arguments of a small network."""

RECIPE = Recipe(
    n_heads=2, widths=(8, 16), n_residual=(1, 2), n_steps=4, batch_size=4, n_cases=3, mixed=2,
    lifetime=3, warmup=2, transport=0.5,
)  # fmt: skip
"""Few steps of a small network."""


def front_of_heads(eeg_info, forwards):
    """Front of two heads, a volume and a cortex, whose data come from a slightly other gain."""
    rng = np.random.default_rng(0)
    heads = []
    for kind in ("volume", "surface"):
        forward = forwards[kind]
        front = forward["source_rr"][:, 1] > (0.04 if kind == "surface" else 0.03)
        gain = forward["sol"]["data"].reshape(32, -1, 3)[:, front].reshape(32, -1)
        mixing = np.eye(32) + 0.1 * rng.standard_normal((32, 32)) / np.sqrt(32)
        heads.append(
            Head(
                seed=len(heads),
                positions=forward["source_rr"][front],
                normals=forward["source_nn"][2::3][front] if kind == "surface" else None,
                gain=gain.astype(np.float32),
                data_gain=(mixing @ gain).astype(np.float32),
                sensors=np.array([ch["loc"][:3] for ch in eeg_info["chs"]]),
                kinds=np.full(32, "eeg"),
                names=np.array(eeg_info["ch_names"]),
            )
        )
    return heads
