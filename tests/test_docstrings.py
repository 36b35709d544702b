"""The docstrings of public functions, with their shared parts filled in, fit the signatures."""

import importlib
import inspect
import pkgutil

import pytest

numpydoc = pytest.importorskip("numpydoc.validate")

PACKAGES = ["mne_invkit", "mne_kronbayes", "mne_piunet", "subdistill"]
CHECKS = {"GL03", "PR01", "PR02", "PR03", "PR04", "PR07", "RT01", "RT03"}


def find_functions(package):
    """Names of the public functions that have sections in their docstrings."""
    found = pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")
    for name in (module.name for module in found):
        for key, value in vars(importlib.import_module(name)).items():
            here = inspect.isfunction(value) and value.__module__ == name
            if here and not key.startswith("_") and "\n    ------" in (value.__doc__ or ""):
                yield f"{name}.{key}"


def faults(name):
    """What is wrong with a docstring, nothing if it is empty."""
    errors = [error for error in numpydoc.validate(name)["errors"] if error[0] in CHECKS]
    if "%(" in numpydoc.Validator._load_obj(name).__doc__:
        errors.append("a shared part is not filled in")
    return errors


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings(package):
    names = sorted(find_functions(package))
    assert len(names) > 15
    assert not {name: errors for name in names if (errors := faults(name))}
