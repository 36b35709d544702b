"""Public functions say what they take and what they give, and type checkers may read it."""

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

pytest.importorskip("lightning_fabric")

PACKAGES = ["mne_invkit", "mne_kronbayes", "mne_piunet", "subdistill"]
UNTYPED = {"self", "cls", "verbose"}  # MNE's own functions leave them, too


def functions(package):
    """Public functions, and public methods of public classes, with their names."""
    found = pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")
    for name in (module.name for module in found):
        for key, value in vars(importlib.import_module(name)).items():
            if key.startswith("_") or getattr(value, "__module__", None) != name:
                continue
            if inspect.isfunction(value):
                yield f"{name}.{key}", value
            elif inspect.isclass(value) and ".kernel." not in name:  # there, protocols tell
                for method, found in vars(value).items():
                    found = getattr(found, "fget", getattr(found, "func", found))
                    found = getattr(found, "__func__", found)
                    if inspect.isfunction(found) and not method.startswith("_"):
                        yield f"{name}.{key}.{method}", found


def untyped(function):
    """Names of the parameters without annotation, and "return" if that lacks one."""
    signature = inspect.signature(function)
    names = [p.name for p in signature.parameters.values() if p.annotation is p.empty]
    names += ["return"] * (signature.return_annotation is signature.empty)
    return [name for name in names if name not in UNTYPED]


@pytest.mark.parametrize("package", PACKAGES)
def test_all_public_functions_are_annotated(package):
    found = dict(functions(package))
    assert len(found) > 40
    assert not {name: missing for name, f in found.items() if (missing := untyped(f))}


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_tell_that_they_are_typed(package):
    """The mark of PEP 561; that it is installed is a test of the wheel."""
    assert (Path(importlib.import_module(package).__file__).parent / "py.typed").is_file()
