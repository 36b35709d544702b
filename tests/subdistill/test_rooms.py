"""The engine distills any model, and knows nothing of images."""

import ast
from pathlib import Path

import pytest

pytest.importorskip("torch")

import subdistill

FILES = sorted(Path(subdistill.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nothing_of_vision_is_imported(path):
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    assert not [name for name in names if name.startswith("subdistill.vision")]
