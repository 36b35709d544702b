"""Arguments that several functions of this package share, each described once."""

from mne_invkit._docs import ENTRIES, make_filler

fill_doc = make_filler(
    ENTRIES
    | {
        "fwd_or_operator": """\
forward : mne.Forward | PIUNet
    Forward solution of any source space, or the operator that :func:`mne_piunet.make_piunet`
    prepared from it. `noise_cov`, `model`, `backend` and `rank` are then those of the operator.""",
        "model": """\
model : str | path-like | Weights
    Name or file of a model, see :func:`mne_piunet.load_piunet`.""",
        "backend": """\
backend : "auto" | "torch" | "onnxruntime"
    Library that runs the network. "auto" takes torch if it is installed, else onnxruntime.""",
        "batch_size": """\
batch_size : int
    Number of samples that pass through the network together.""",
        "n_jobs": """\
n_jobs : int | None
    Number of threads, as in joblib: -1 is one for each CPU. None is the number of a prepared
    operator, or as many as torch (if it is loaded) or BLAS would use.""",
        "model_path": """\
path : path-like
    File to write, ``.safetensors``; card and ONNX twin are written beside it.""",
        "overwrite": """\
overwrite : bool
    Replace existing files.""",
        "multiple": """\
multiple : int
    Each side of the grid is a multiple of this.""",
    }
)
"""Fills the entries of ``mne_invkit`` and those above."""
