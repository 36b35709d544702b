"""Without the packages of the extras, sentences say which extra to install."""

import subprocess
import sys

BLOCKED = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "lightning_fabric", "onnx", "ot", "yaml"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Block())
from mne_invkit.cli import main
from mne_piunet import *
assert load_piunet().name == "default"
try:
    finetune_piunet(None, path="own.safetensors")
except ImportError as error:
    print("finetune", error)
for arguments in (
    ["train-piunet", "run"], ["export-piunet", "run", "own.safetensors"],
    ["distill-vision", "run", "--set", "teacher=a"],
):
    assert main(arguments) == 1
print("done")
"""


def test_sentences_name_the_extra(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", BLOCKED], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.rstrip().endswith("done")
    told = [line for line in (run.stdout + run.stderr).splitlines() if "No module named" in line]
    extras = ["train", "train", "train", "vision"]
    assert len(told) == len(extras)
    for line in told:
        assert 'pip install "mne-invkit[' in line
    assert sum("mne-invkit[vision]" in line for line in told) == 1
    assert not list(tmp_path.iterdir())
