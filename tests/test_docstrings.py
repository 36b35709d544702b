"""The docstrings of public functions, with MNE's shared parts filled in, fit the signatures."""

import importlib
import inspect
import pkgutil

import pytest

numpydoc = pytest.importorskip("numpydoc.validate")

PACKAGES = ["mne_invkit", "mne_kronbayes", "mne_piunet", "subdistill"]
CHECKS = {"GL03", "PR01", "PR02", "PR03", "PR04", "PR07", "RT01", "RT03"}


def find_functions():
    """Names of the public functions that have sections in their docstrings."""
    for package in PACKAGES:
        found = pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")
        for name in (module.name for module in found):
            for key, value in vars(importlib.import_module(name)).items():
                here = inspect.isfunction(value) and value.__module__ == name
                if here and not key.startswith("_") and "\n    ------" in (value.__doc__ or ""):
                    yield f"{name}.{key}"


NAMES = sorted(find_functions())


def test_functions_are_found():
    assert len(NAMES) > 150


@pytest.mark.parametrize("name", NAMES)
def test_docstring(name):
    errors = [e for e in numpydoc.validate(name)["errors"] if e[0] in CHECKS]
    assert not errors
    assert "%(" not in numpydoc.Validator._load_obj(name).__doc__
