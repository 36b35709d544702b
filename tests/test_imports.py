"""Which package may import what, so that each can be used without the others."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KERNELS = (
    "dugh", "kronecker", "linalg", "noise", "posterior", "selection", "separable", "state",
    "temporal",
)  # fmt: skip
SIBLINGS = {"mne_kronbayes", "mne_piunet", "subdistill"}


def imports(path, top_level=False):
    """Names a file imports, as ``module.name``; at the top level only or anywhere."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def packages_of(paths, **kwargs):
    """Top-level packages that files import."""
    return {name.split(".")[0] for path in paths for name in imports(path, **kwargs)}


def files(package):
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("mne_invkit", {"torch", *SIBLINGS}),
        ("mne_kronbayes", {"torch", "mne_piunet", "subdistill"}),
        ("mne_piunet", {"mne_kronbayes"}),
        ("subdistill", {"mne", "mne_invkit", "mne_kronbayes", "mne_piunet"}),
    ],
)
def test_package_does_without(package, forbidden):
    assert files(package)
    assert not packages_of(files(package)) & forbidden


@pytest.mark.parametrize(
    "path",
    [
        *(f"mne_kronbayes/{name}.py" for name in KERNELS),
        *(
            f"mne_piunet/{name}.py"
            for name in (
                "grid",
                "pseudoinverse",
                "physics",
                "pursuit",
                "sharing",
                "sparse",
                "losses",
                "network",
            )
        ),
    ],
)
def test_mathematics_needs_no_mne(path):
    found = packages_of([ROOT / path])
    assert not found & {"mne", "mne_invkit"}


def test_subdistill_needs_only_torch_and_numpy():
    """All but the engine, which also needs what `pip install "mne-invkit[train]"` brings."""
    engine = {"lightning_fabric": {"distill", "training", "vision_run"}, "tqdm": {"training"}}
    for path in files("subdistill"):
        allowed = {package for package, names in engine.items() if path.stem in names}
        found = packages_of([path], top_level=True) - sys.stdlib_module_names
        assert found <= {"torch", "numpy", "subdistill"} | allowed, path


def test_private_names_of_mne_are_all_in_one_file():
    private = {
        f"{path.relative_to(ROOT).as_posix()}: {name}"
        for package in ("mne_invkit", *sorted(SIBLINGS))
        for path in files(package)
        for name in imports(path)
        if name.startswith("mne.") and any(part.startswith("_") for part in name.split("."))
    }
    assert all(entry.startswith("mne_invkit/_mne_compat.py") for entry in private), private


def test_private_names_of_mne_have_a_reason():
    lines = (ROOT / "mne_invkit" / "_mne_compat.py").read_text(encoding="utf-8").splitlines()
    assert all("# " in line for line in lines if line.startswith("from mne"))


@pytest.mark.parametrize(
    ("package", "heavy"),
    [
        ("mne_invkit", ["torch", "pyvista"]),
        ("mne_kronbayes", ["torch", "pyvista", "nilearn"]),
        ("mne_piunet", ["torch", "onnxruntime", "pyvista", "nilearn"]),
    ],
)
def test_import_is_light(package, heavy):
    code = f"import sys, {package}; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
