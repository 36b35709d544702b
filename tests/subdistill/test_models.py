"""Models without their wrappers, and teachers that stay frozen."""

import copy

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from subdistill.models import find_layer, frozen, unwrap


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Linear(6, 2))


def test_wrappers_are_taken_off():
    model = net()
    assert unwrap(model) is model
    assert unwrap(torch.compile(nn.DataParallel(model), backend="eager")) is model


def test_layer_by_name_or_close_names():
    model = nn.ModuleDict({"layer1": nn.Linear(1, 1), "layer2": nn.Linear(1, 1)})
    assert find_layer(model, "layer2") is model["layer2"]
    with pytest.raises(ValueError, match=r"no layer 'layer_1'; close names are .*layer1"):
        find_layer(model, "layer_1")
    with pytest.raises(ValueError, match="no layer ''; close names are layer1, layer2"):
        find_layer(model, "")


def test_frozen_teacher_stays_in_evaluation():
    model = net().train()
    model[2].eval()
    model[3].weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    parent = nn.ModuleList([model])
    with frozen(model):
        with frozen(model):
            parent.train()
        model[1].train()
        assert not any(m.training for m in model.modules())
        assert not any(p.requires_grad for p in model.parameters())
        model(torch.randn(4, 3, 8, 8))
    assert [m.training for m in model] == [True, True, False, True]
    assert [p.requires_grad for p in model[3].parameters()] == [False, True]
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not model.eval().training


def test_modes_come_back_after_an_error():
    model = net().train()
    with pytest.raises(RuntimeError, match="stop"), frozen(model):
        raise RuntimeError("stop")
    assert all(m.training for m in model.modules())
    assert all(p.requires_grad for p in model.parameters())
