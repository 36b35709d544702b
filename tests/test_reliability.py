"""The table of inputs in docs/reliability.md names tests that exist, and each input once."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"\| (?P<input>.+?) \| (?P<happens>.+?) \| `(?P<file>[\w/.]+)::(?P<test>\w+)` \|")


def rows():
    text = (ROOT / "docs" / "reliability.md").read_text()
    table = [line for line in text.splitlines() if line.startswith("| ") and "tests/" in line]
    return [(line, ROW.fullmatch(line)) for line in table]


def test_the_table_is_long_and_every_row_is_whole():
    assert len(rows()) >= 60
    assert [line for line, row in rows() if row is None] == []
    inputs = [row["input"] for _, row in rows()]
    assert len(set(inputs)) == len(inputs)


def test_every_row_names_a_test():
    known = {}
    for _, row in rows():
        file = row["file"]
        if file not in known:
            tree = ast.parse((ROOT / file).read_text())
            known[file] = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
        assert row["test"] in known[file], f"{file} has no {row['test']}"


def test_what_could_run_code_is_named():
    """The list of places that might execute something is whole."""
    suspect = re.compile(r"pickle|torch\.load\(|eval\(|getattr\(.*kind")
    packages = ("mne_invkit", "mne_kronbayes", "mne_piunet", "subdistill")
    files = (path for name in packages for path in (ROOT / name).rglob("*.py"))
    found = {str(p.relative_to(ROOT)) for p in files if suspect.search(p.read_text())}
    text = (ROOT / "docs" / "reliability.md").read_text().partition("## Nothing is executed")[2]
    assert found == set(re.findall(r"^\| `([\w/.]+)` \|", text, re.MULTILINE))
