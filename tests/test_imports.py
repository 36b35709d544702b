"""Which file may import what, so that each package and each kernel can be used without the others.

Imports are followed from file to file, those within functions and for types, too.
"""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("mne_invkit", "mne_kronbayes", "mne_piunet", "subdistill")
KERNELS = {"mne_kronbayes.kernel", "mne_piunet.kernel", "mne_piunet.net"}
"""Rooms that see arrays only."""


def files(package):
    return sorted((ROOT / package).rglob("*.py"))


def module_of(path):
    """Dotted name of a file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for package in PACKAGES for path in files(package)}


@cache
def imports(path, top_level=False):
    """Names a file imports, as ``module.name``; at the top level only or anywhere."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def packages_of(paths, **kwargs):
    """Top-level packages that files import."""
    return {name.split(".")[0] for path in paths for name in imports(path, **kwargs)}


def friends(module):
    """Files of ours that a file imports, by their dotted names."""
    found = set()
    for name in imports(MODULES[module]):
        while name and name not in MODULES:
            name = name.rpartition(".")[0]
        if name:
            found.add(name)
    return found - {module}


def reached(module):
    """The file, and all files of ours that it imports, directly or through others."""
    found, todo = set(), [module]
    while todo:
        if (name := todo.pop()) not in found:
            found.add(name)
            todo += friends(name)
    return found


def test_files_are_found():
    assert len(MODULES) > 80
    assert friends("mne_kronbayes.evidence") == {"mne_kronbayes.result", "mne_kronbayes.windows"}
    assert "mne_kronbayes.kernel.temporal" in reached("mne_kronbayes.evidence")


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("mne_invkit", {"torch", "mne_kronbayes", "mne_piunet", "subdistill"}),
        ("mne_kronbayes", {"torch", "mne_piunet", "subdistill"}),
        ("mne_piunet", {"mne_kronbayes"}),
        ("subdistill", {"mne", "mne_invkit", "mne_kronbayes", "mne_piunet"}),
    ],
)
def test_package_does_without(package, forbidden):
    assert files(package)
    assert not packages_of(files(package)) & forbidden


@pytest.mark.parametrize(
    "module", [m for m in MODULES if m in KERNELS or m.rpartition(".")[0] in KERNELS]
)
def test_kernels_see_arrays_only(module):
    """No kernel reaches MNE, not even through a file that it imports."""
    allowed = {"numpy", "scipy", module.split(".")[0]}
    if module.startswith("mne_piunet.net"):
        allowed |= {"torch", "ot"}
    for name in reached(module):
        assert packages_of([MODULES[name]]) - sys.stdlib_module_names <= allowed, name


LAYERS = [
    {"_mne", "_docs", "_files", "_html", "_progress", "_threads"},
    {"_hdf5"},
    {"heads", "inverse"},
    {"metrics"},
    {"population", "simulation", "solvers", "viz", "datasets"},
    {"report"},
    {"bids", "testing"},
    {"cli"},
]
"""Rooms of mne_invkit: a file may import from its own room and from those in lines above it."""


def floor(module):
    """Number of the line in LAYERS that a file of mne_invkit stands in."""
    room = module.split(".")[1]
    return next(k for k, rooms in enumerate(LAYERS) if room in rooms)


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("mne_invkit.")])
def test_rooms_of_mne_invkit_stand_one_above_the_other(module):
    room = module.split(".")[1]
    for friend in friends(module):
        below = floor(friend) < floor(module)
        assert below or friend.split(".")[1] == room, f"{module} imports {friend}"


def test_no_files_import_each_other_in_a_circle():
    circles = {
        module for module in MODULES if any(module in reached(friend) for friend in friends(module))
    }
    assert not circles


def test_subdistill_needs_only_torch_and_numpy():
    """All but the engine, which also needs what `pip install "mne-invkit[train]"` brings."""
    engine = {"lightning_fabric": {"engine", "training", "run"}, "tqdm": {"training"}}
    for path in files("subdistill"):
        allowed = {package for package, names in engine.items() if path.stem in names}
        found = packages_of([path], top_level=True) - sys.stdlib_module_names
        assert found <= {"torch", "numpy", "lazy_loader", "subdistill"} | allowed, path


def test_private_names_of_mne_are_all_in_one_file():
    private = {
        f"{path.relative_to(ROOT).as_posix()}: {name}"
        for path in MODULES.values()
        for name in imports(path)
        if name.startswith("mne.") and any(part.startswith("_") for part in name.split("."))
    }
    assert all(entry.startswith("mne_invkit/_mne.py") for entry in private), private


def test_private_names_of_mne_have_a_reason():
    lines = (ROOT / "mne_invkit" / "_mne.py").read_text(encoding="utf-8").splitlines()
    private = [line for line in lines if line.startswith("from mne._")]
    assert private
    assert all("# " in line for line in private)


def test_private_fields_of_mne_are_all_in_one_file():
    fields = ("FIFF", "_orig_sol", '["source_ori"] ', '["coord_frame"] ')
    for path in MODULES.values():
        if path.name != "_mne.py":
            text = path.read_text(encoding="utf-8")
            assert not [name for name in fields if name in text], path


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


def test_whoever_imports_onnxruntime_turns_its_telemetry_off():
    texts = [path.read_text(encoding="utf-8") for path in MODULES.values()]
    imports = [text for text in texts if "import onnxruntime\n" in text]
    assert len(imports) == 2  # siblings cannot share it
    for text in imports:
        before = text[: text.index("import onnxruntime\n")]
        assert 'os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")' in before


WITHOUT_EXTRAS = """
import sys
extras = ["torch", "onnx", "onnxruntime", "onnxscript", "lightning_fabric", "safetensors", "ot",
          "pyvista", "timm", "torchvision", "captum", "zennit", "yaml", "mne_bids"]

class NotInstalled:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in extras:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NotInstalled)
from mne_invkit import *
from mne_kronbayes import *
from mne_piunet import *
import subdistill
from mne_invkit.cli import main
def distill():
    return subdistill.distill
for attempt in (lambda: finetune_piunet(None, path="a.safetensors"), distill):
    try:
        attempt()
    except ImportError as error:
        print(error)
for command in (["export-piunet", "run", "a.safetensors"], ["train-piunet", "run"],
                ["distill-vision", "run"]):
    assert main(command) == 1
"""


def test_without_extras_all_can_be_imported_and_the_rest_names_them(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS], capture_output=True, text=True, cwd=tmp_path
    )
    assert run.returncode == 0, run.stderr
    for lines, extras in (
        (run.stdout.splitlines(), ["train", "train"]),
        (run.stderr.splitlines(), ["train", "train", "vision"]),
    ):
        for line, extra in zip(lines, extras, strict=True):
            assert f'needs pip install "mne-invkit[{extra}]"' in line
    assert not list(tmp_path.iterdir())
