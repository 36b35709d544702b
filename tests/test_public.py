"""The names that users import: none comes or goes unseen."""

import importlib

import pytest

PUBLIC = {
    "mne_invkit": {
        "InverseProblem", "InverseResult", "Solver", "change_skull", "estimate_to_nifti",
        "find_solvers", "get_solver", "load_sep", "make_report", "make_result",
        "plot_brain", "plot_convergence", "plot_estimate", "plot_sensor_fit", "prepare_problem",
        "read_result", "region_name", "score", "simulate_evoked", "template_bem",
        "template_forward", "template_source_space", "template_subjects_dir", "template_trans",
    },
    "mne_kronbayes": {
        "KronBayesResult", "apply_kron_bayes", "apply_kron_bayes_epochs", "apply_kron_bayes_raw",
        "compare", "fit_kron_bayes", "learn_skull", "read_kron_bayes",
    },
    "mne_piunet": {
        "PIUNet", "apply_piunet", "apply_piunet_epochs", "apply_piunet_raw", "finetune_piunet",
        "fit_piunet", "list_models", "load_piunet", "make_piunet", "read_piunet",
    },
    "subdistill": {
        "Distilled", "Moments", "Objective", "Pair", "Recipe", "Subspace", "accuracy", "agreement",
        "distill", "export_student", "fit_subspaces", "heatmaps", "make_subspace",
        "mark_effect", "measure_moments", "pair_layers", "pixel_flipping", "plot_heatmaps",
        "projected_accuracy", "select_classes",
    },
}  # fmt: skip


@pytest.mark.parametrize("package", sorted(PUBLIC))
def test_public_names(package):
    module = importlib.import_module(package)
    assert set(module.__all__) == PUBLIC[package]
    assert PUBLIC[package] <= set(dir(module))


@pytest.mark.parametrize("package", sorted(PUBLIC))
def test_public_names_are_there(package):
    pytest.importorskip("lightning_fabric")
    module = importlib.import_module(package)
    for name in PUBLIC[package]:
        assert callable(getattr(module, name))
