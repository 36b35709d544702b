"""What is recorded of a model, and that the model is as it was afterwards."""

import copy

import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch.nn import functional

from subdistill.capture import Capture
from subdistill.models import frozen


class Tokens(nn.Module):
    """A class token and patches through a block that returns a tuple."""

    num_prefix_tokens = 1

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(3, 4)
        self.block = TupleBlock()
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        x = self.embed(x)
        x, _ = self.block(torch.cat([x.mean(dim=1, keepdim=True), x], dim=1))
        return self.head(x[:, 0])


class TupleBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(4, 4)

    def forward(self, x):
        return self.mix(x + x.mean(dim=1, keepdim=True)), "attention"


def conv_net(inplace=True):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=inplace),
        nn.Conv2d(4, 5, 3, stride=2, padding=1), nn.ReLU(inplace=inplace),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3),
    ).eval()  # fmt: skip


def hooks(model):
    return sum(len(m._forward_hooks) for m in model.modules())


# %% Outputs


def test_outputs_before_an_operation_in_place():
    model, x = conv_net(), torch.randn(2, 3, 8, 8)
    expected = model[1](model[0](x))
    with Capture(model, ["1", "3"]) as captured:
        model(x)
        maps = captured.maps()
    assert (expected < 0).any()
    assert torch.equal(maps["1"], expected)
    assert torch.equal(maps["3"], model[3](expected.relu()))


def test_hooks_are_gone_even_after_an_error():
    model = conv_net()
    with pytest.raises(RuntimeError, match="stop"), Capture(model, ["0"]):  # noqa: PT012
        assert hooks(model) == 1
        raise RuntimeError("stop")
    assert hooks(model) == 0


def test_tokens_without_class_token():
    torch.manual_seed(0)
    model, x = Tokens(), torch.randn(2, 6, 3)
    with Capture(model, ["block"]) as captured:
        model(x)
        found = captured.maps()["block"]
    embedded = model.embed(x)
    tokens, _ = model.block(torch.cat([embedded.mean(dim=1, keepdim=True), embedded], dim=1))
    torch.testing.assert_close(found, tokens[:, 1:].transpose(1, 2))
    model.num_prefix_tokens = 0
    with Capture(model, ["block"]) as captured:
        model(x)
        assert captured.maps()["block"].shape == (2, 4, 7)


@pytest.mark.parametrize(
    ("model", "x", "shape"),
    [
        (nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU()), torch.zeros(5, 2, 9), (5, 4, 7)),
        (nn.Sequential(nn.Conv3d(2, 4, 3), nn.ReLU()), torch.zeros(5, 2, 5, 5, 5), (5, 4, 3, 3, 3)),
        (nn.Sequential(nn.Linear(2, 4), nn.ReLU()), torch.zeros(5, 2), (5, 4, 1)),
    ],
)
def test_any_number_of_dimensions(model, x, shape):
    with Capture(model, ["0", "1"]) as captured:
        model(x)
        assert captured.maps()["0"].shape == captured.maps()["1"].shape == shape


@pytest.mark.parametrize(
    ("form", "shape"), [(None, (5, 7, 4)), ("NLC", (5, 4, 7)), ("NCL", (5, 7, 4))]
)
def test_three_axes_that_the_model_names(form, shape):
    """A model that holds a convolution of one dimension, and tokens."""
    model = nn.ModuleDict({"conv": nn.Conv1d(1, 1, 1), "tokens": nn.Linear(3, 4)})
    model.forward = lambda x: model["tokens"](x)
    if form:
        model.output_fmt = form
    with Capture(model, ["tokens"]) as captured:
        model(torch.zeros(5, 7, 3))
        assert captured.maps()["tokens"].shape == shape


def test_channels_last_maps_of_timm():
    model = nn.Sequential(nn.Linear(3, 4))
    model.output_fmt = "NHWC"
    x = torch.randn(2, 5, 6, 3)
    with Capture(model, ["0"]) as captured:
        model(x)
        torch.testing.assert_close(captured.maps()["0"], model[0](x).permute(0, 3, 1, 2))


# %% Gradients


@pytest.mark.parametrize("inplace", [True, False])
def test_gradients_equal_the_analytic_ones(inplace):
    model, x = conv_net(inplace), torch.randn(2, 3, 8, 8)
    with frozen(model), Capture(model, ["1", "4"], gradients=True) as captured:
        gradients = captured.gradients(model(x)[:, 1])
    # the mean over 16 positions, then the weights of the logit
    expected = (model[7].weight[1] / 16)[None, :, None, None].expand(2, 5, 4, 4)
    torch.testing.assert_close(gradients["4"], expected)

    hidden = model[1](model[0](x)).detach().requires_grad_()
    output = functional.relu(model[3](functional.relu(hidden))).mean(dim=(2, 3)) @ model[7].weight.T
    (expected,) = torch.autograd.grad(output[:, 1].sum(), hidden)
    torch.testing.assert_close(gradients["1"], expected)


def test_gradients_through_a_tuple():
    model = Tokens()
    with frozen(model), Capture(model, ["block"], gradients=True) as captured:
        gradients = captured.gradients(model(torch.randn(2, 6, 3))[:, 0])["block"]
    assert gradients.shape == (2, 4, 6)
    assert not gradients.any()  # patches no longer reach the head, only the class token does


def test_a_layer_that_the_scalar_does_not_see():
    class Aside(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.aside = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            self.aside(x)
            return self.used(x)

    model = Aside()
    with frozen(model), Capture(model, ["used", "aside"], gradients=True) as captured:
        output = model(torch.randn(3, 2))
        with pytest.raises(ValueError, match="does not depend on layer 'aside'"):
            captured.gradients(output[:, 0])


# %% Wrappers


def test_compiled_model():
    model, x = conv_net(inplace=False), torch.randn(2, 3, 8, 8)
    compiled = torch.compile(model, backend="eager")
    before = compiled(x)  # compiled without the hooks
    with torch.no_grad(), Capture(compiled, ["1"]) as captured:
        after = compiled(x)
        torch.testing.assert_close(captured.maps()["1"], model[1](model[0](x)))
        compiled(2 * x)
        torch.testing.assert_close(captured.maps()["1"], model[1](model[0](2 * x)))
    torch.testing.assert_close(before, after)
    with pytest.raises(RuntimeError, match="did not run"):
        captured.maps()
    compiled(x)
    assert captured._outputs == {}


def test_gradients_of_a_compiled_model():
    """Those of the model itself, also where one layer follows from another in one graph."""
    model, x = conv_net(inplace=False), torch.randn(2, 3, 8, 8)
    gradients = []
    for wrapped in (model, torch.compile(model, backend="aot_eager")):
        with frozen(wrapped), Capture(wrapped, ["0", "1", "3"], gradients=True) as captured:
            gradients.append(captured.gradients(wrapped(x)[:, 0]))
    torch.testing.assert_close(*gradients)


def test_autocast():
    model, x = conv_net(), torch.randn(2, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16), frozen(model):
        with Capture(model, ["0", "3"], gradients=True) as captured:
            gradients = captured.gradients(model(x)[:, 0].float())
            maps = captured.maps()
        assert maps["3"].dtype == torch.bfloat16
        assert torch.equal(maps["0"], model[0](x))
    assert gradients["3"].float().abs().sum() > 0


def test_data_parallel_wrapper(tmp_path):
    import torch.distributed as dist

    dist.init_process_group("gloo", (tmp_path / "store").as_uri(), rank=0, world_size=1)
    try:
        model, x = conv_net(), torch.randn(2, 3, 8, 8)
        parallel = nn.parallel.DistributedDataParallel(model)
        with Capture(parallel, ["0"]) as captured:
            parallel(x)
            assert torch.equal(captured.maps()["0"], model[0](x))
    finally:
        dist.destroy_process_group()


# %% Bad input


def test_unknown_layer_lists_close_names():
    model = nn.ModuleDict({"layer1": nn.Linear(1, 1), "layer2": nn.Linear(1, 1)})
    with pytest.raises(ValueError, match=r"no layer 'layer_1'; close names are .*layer1"):
        Capture(model, ["layer_1"])


def test_output_that_is_no_tensor():
    class Words(nn.Module):
        def forward(self, x):
            return {"x": x}

    model = nn.Sequential(Words())
    with Capture(model, ["0"]), pytest.raises(TypeError, match="Layer '0' returns dict"):
        model(torch.zeros(1))


# %% Frozen


def test_frozen_teacher_stays_in_evaluation():
    model = conv_net().train()
    model[2].eval()
    model[7].weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    parent = nn.ModuleList([model])
    with frozen(model):
        with frozen(model):
            parent.train()
        model[1].train()
        assert not any(m.training for m in model.modules())
        assert not any(p.requires_grad for p in model.parameters())
        model(torch.randn(4, 3, 8, 8))
    assert [m.training for m in model] == [True, True, False, *[True] * 5]
    assert [p.requires_grad for p in model[7].parameters()] == [False, True]
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not model.eval().training
