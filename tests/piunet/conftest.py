"""A small untrained model, and small heads to train on."""

import pytest
from piunet_cases import NETWORK, front_of_heads


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
    """Front of two heads, a volume and a cortex."""
    return front_of_heads(eeg_info, forwards)
