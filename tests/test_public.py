"""The names that users import: none comes or goes unseen."""

import importlib

import pytest

PUBLIC = {
    "mne_kronbayes": {
        "KronBayesResult", "apply_kron_bayes", "apply_kron_bayes_epochs", "apply_kron_bayes_raw",
        "compare", "fit_kron_bayes", "learn_skull", "read_kron_bayes",
    },
    "mne_piunet": {
        "PIUNet", "apply_piunet", "apply_piunet_epochs", "apply_piunet_raw", "finetune_piunet",
        "fit_piunet", "list_models", "load_piunet", "make_piunet",
    },
}  # fmt: skip


@pytest.mark.parametrize("package", sorted(PUBLIC))
def test_public_names(package):
    module = importlib.import_module(package)
    assert set(module.__all__) == PUBLIC[package]


@pytest.mark.parametrize("package", sorted(PUBLIC))
def test_public_names_are_there(package):
    pytest.importorskip("lightning_fabric")
    module = importlib.import_module(package)
    for name in PUBLIC[package]:
        assert callable(getattr(module, name))
