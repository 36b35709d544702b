"""Exported students give the outputs of torch, for any batch."""

import pytest

torch = pytest.importorskip("torch")

from odd_files import full_disk
from torch import nn

from subdistill.export import FORMATS, export_student


def student():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Dropout(0.5), nn.Linear(4, 2),
    )  # fmt: skip
    model(torch.randn(8, 3, 6, 6))  # statistics of the batch norm
    return model


@pytest.mark.parametrize("suffix", FORMATS)
def test_files_agree_with_torch(tmp_path, suffix):
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    model, path = student(), tmp_path / f"student{suffix}"
    assert export_student(model, path, torch.randn(2, 3, 6, 6)) < 1e-5
    assert model.training
    assert path.stat().st_size > 500
    batch = torch.randn(5, 3, 6, 6)
    expected = model.eval()(batch).detach()
    if suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        found = torch.from_numpy(session.run(None, {"inputs": batch.numpy()})[0])
    elif suffix == ".pt2":
        found = torch.export.load(path).module()(batch).detach()
    else:
        from safetensors.torch import load_file

        other = student().eval()
        nn.init.zeros_(other[0].weight)
        other.load_state_dict(load_file(path))
        found = other(batch).detach()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_difference_is_an_error(tmp_path):
    class Restless(nn.Module):
        """Parameters that are not all of the model."""

        def __init__(self):
            super().__init__()
            self.weight, self.calls = nn.Parameter(torch.ones(3)), 0

        def forward(self, x):
            self.calls += 1
            return self.calls * x * self.weight

    path = tmp_path / "student.safetensors"
    path.write_bytes(b"an older student")
    with pytest.raises(ValueError, match="other outputs than torch: the largest difference is 1"):
        export_student(Restless(), path, torch.ones(2, 3), overwrite=True)
    assert path.read_bytes() == b"an older student"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".safetensors", ".pt2"])
def test_full_disk_leaves_the_older_file(tmp_path, suffix):
    """A function of torch that meets it while it writes ends the process."""
    path = tmp_path / f"student{suffix}"
    path.write_bytes(b"an older student")
    with full_disk(), pytest.raises(OSError, match=rf"student\{suffix}"):
        export_student(nn.Linear(99, 99), path, torch.ones(2, 99), overwrite=True)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"an older student"]


def test_files_are_replaced_if_told_so(tmp_path):
    path = tmp_path / "student.safetensors"
    path.write_bytes(b"an older student")
    with pytest.raises(FileExistsError, match=r"student.safetensors exists: pass overwrite=True"):
        export_student(student(), path, torch.randn(2, 3, 6, 6))
    assert path.read_bytes() == b"an older student"
    export_student(student(), path, torch.randn(2, 3, 6, 6), overwrite=True)
    assert path.stat().st_size > 500


def test_student_that_is_not_finite_is_not_written(tmp_path):
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    for name, tensor in (("0.bias", model[0].bias.data), ("1.running_mean", model[1].running_mean)):
        tensor[0] = torch.nan
        with pytest.raises(ValueError, match=f"weights '{name}' are infinite or not a number"):
            export_student(model, tmp_path / "student.safetensors", torch.ones(2, 3))
        tensor[0] = 0
    assert not list(tmp_path.iterdir())
    masked = nn.Linear(3, 2)
    masked.register_buffer("mask", torch.tensor([0, -torch.inf]))  # as of attention
    assert export_student(masked, tmp_path / "masked.safetensors", torch.ones(2, 3)) == 0


class Product(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, one, other):
        return self.linear(one * other)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("named", [False, True], ids=["tuple", "dict"])
def test_students_of_two_inputs(tmp_path, suffix, named):
    if suffix == ".onnx":
        pytest.importorskip("onnxscript")
        onnxruntime = pytest.importorskip("onnxruntime")
    one, other = torch.randn(2, 3), torch.randn(2, 3)
    inputs = {"other": other, "one": one} if named else (one, other)
    path = tmp_path / f"student{suffix}"
    assert export_student(Product(), path, inputs) < 1e-5
    if suffix == ".onnx":
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = ["other", "one"] if named else ["inputs", "inputs_1"]
        assert sorted(node.name for node in session.get_inputs()) == sorted(names)


def test_errors_say_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"must end in one of \.safetensors, \.pt2, \.onnx"):
        export_student(student(), tmp_path / "student.pkl", torch.zeros(2, 3, 6, 6))
    with pytest.raises(ValueError, match="two samples or more"):
        export_student(student(), tmp_path / "student.pt2", torch.zeros(1, 3, 6, 6))
