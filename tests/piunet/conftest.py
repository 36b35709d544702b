"""A small untrained model, and small heads to train on."""

import numpy as np
import pytest

from mne_invkit.population.head import Head

NETWORK = dict(widths=(8, 16), n_residual=(1, 1), block_side=2)
"""Arguments of a small network."""


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """Model of random weights, as loaded from its file."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from mne_piunet.net.unet import UNet
    from mne_piunet.training.export import write_model

    torch.manual_seed(0)
    network = UNet(**NETWORK)
    torch.nn.init.normal_(network.head[-1].weight, std=0.1)
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    return write_model(network, path, {"domain": "none"}, NETWORK)


@pytest.fixture
def quick_export(monkeypatch):
    """Write no network for onnxruntime, which takes longest; the model above has one."""
    monkeypatch.setattr(
        "mne_piunet.training.export.write_onnx", lambda network, path: path.write_bytes(b"twin")
    )


@pytest.fixture(scope="session")
def heads(eeg_info, forwards):
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
