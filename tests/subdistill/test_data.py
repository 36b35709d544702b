"""What a batch is, and how a model is called."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from distill_cases import Simulated, loader, net
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from subdistill.data import arguments, batches, call, check_epochs, device_of

CPU, X, Y = torch.device("cpu"), torch.zeros(1), torch.ones(1)


def test_inputs_and_targets_of_a_batch():
    forms = [X, (X,), [X, Y], (X, Y, Y), {"x": X}, ({"x": X}, Y), ((X, Y), None), ([X, Y], X)]
    assert list(batches(forms, CPU)) == [
        (X, None), (X, None), (X, Y), (X, Y), ({"x": X}, None), ({"x": X}, Y), ((X, Y), None),
        ((X, Y), X),
    ]  # fmt: skip


def test_all_tensors_are_moved():
    meta = torch.device("meta")
    ((inputs, targets),) = batches([({"a": X, "b": (X, Y)}, [Y])], meta)
    assert [inputs["a"].device, inputs["b"][1].device, targets[0].device] == [meta] * 3


def test_model_gets_a_tensor_a_tuple_or_a_dict():
    def model(a, b=1):
        return a - b

    five, two = torch.tensor(5), torch.tensor(2)
    assert call(model, five) == 4
    assert call(model, (five, two)) == call(model, [five, two]) == 3
    assert call(model, {"b": five, "a": two}) == -3
    assert arguments({"b": X}) == ((), {"b": X})


def test_device_of_parameters_or_buffers():
    assert device_of(nn.Linear(2, 2, device="meta")).type == "meta"
    assert device_of(nn.BatchNorm1d(2, affine=False, device="meta")).type == "meta"
    assert device_of(nn.ReLU()) == CPU


def test_batches_that_are_no_tensors():
    with pytest.raises(TypeError, match=r"holds ndarray .* torch.as_tensor"):
        list(batches([np.zeros(2)], CPU))
    with pytest.raises(TypeError, match=r"holds str .* \(inputs, targets\)"):
        list(batches([(X, "name")], CPU))
    with pytest.raises(ValueError, match="gave no batch"):
        list(batches([], CPU))


def test_data_that_starts_anew():
    for data in (loader(), [X], Simulated()):
        check_epochs(data)
    with pytest.raises(TypeError, match=r"generator ends after one: .*DataLoader"):
        check_epochs(x for x in [X])
    for data in (TensorDataset(X), X, net(0, 4), {"x": X}):
        with pytest.raises(TypeError, match=f"{type(data).__name__} has no batches: .*DataLoader"):
            check_epochs(data)


def test_data_loader_of_several_inputs():
    pairs = [((torch.full((2,), float(n)), torch.zeros(3)), n) for n in range(4)]
    (first, _) = batches(DataLoader(pairs, 2), CPU)
    assert [part.shape for part in first[0]] == [(2, 2), (2, 3)]
    assert first[1].tolist() == [0, 1]
