"""Solvers are plugins: whoever registers one can use it by name."""

import re
from pathlib import Path

import mne
import numpy as np
import pytest

from mne_invkit.solvers.registry import GROUP, find_solvers, get_solver

GUIDE = Path(__file__).parents[3] / "CONTRIBUTING.md"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a package with a solver where Python looks for packages, as pip does."""

    def install(name, code, solver="SOLVER"):
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "RECORD").write_text(f"{name}.py,,\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {name}:{solver}\n")
        monkeypatch.syspath_prepend(tmp_path)

    return install


@pytest.mark.parametrize("name", ["eloreta", "kronbayes"])
def test_ours_are_registered(name):
    solver = find_solvers()[name]
    assert solver is get_solver(name)
    assert solver.name == name
    assert solver.description


def test_unknown_name_lists_the_installed():
    with pytest.raises(ValueError, match=r"no solver 'dipole'.*eloreta.*kronbayes"):
        get_solver("dipole")


def test_solver_of_the_contributing_guide(install, eeg_evoked, forwards, eeg_cov):
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    code = next(block for block in blocks if "RIDGE = Solver(" in block)
    install("ridge", code, "RIDGE")
    assert {"eloreta", "kronbayes", "ridge"} <= set(find_solvers())

    forward = forwards["surface"]
    result = get_solver("ridge").fit(eeg_evoked, forward, eeg_cov, lambda2=0.5, verbose=False)
    inverse = mne.minimum_norm.make_inverse_operator(
        eeg_evoked.info, forward, eeg_cov,
        depth=dict(exp=0.8, limit=None, limit_depth_chs="whiten", combine_xyz="fro"),
        verbose=False,
    )  # fmt: skip
    expected = mne.minimum_norm.apply_inverse(eeg_evoked, inverse, 0.5, "MNE", verbose=False)
    np.testing.assert_allclose(result.stc.data, expected.data, rtol=1e-6)
    assert result.settings["lambda2"] == 0.5
    assert result.code == "ridge 1.0"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import a_package_that_is_missing", "ModuleNotFoundError"),
        ("1 / 0", "ZeroDivisionError"),
        ("def SOLVER(): pass", "expected a Solver, got function"),
        ("", "AttributeError"),
    ],
    ids=["import", "exception", "type", "empty"],
)
def test_broken_plugin_leaves_the_others(install, request, code, reason):
    name = f"broken_{request.node.callspec.id}"  # modules stay imported
    install(name, code)
    with pytest.warns(RuntimeWarning, match=f"'{name}' .* cannot be loaded: .*{reason}"):
        solvers = find_solvers()
    assert name not in solvers
    assert {"eloreta", "kronbayes"} <= set(solvers)
