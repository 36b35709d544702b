"""What layers return: shapes, maps and gradients; afterwards the hooks are gone."""

import pytest

torch = pytest.importorskip("torch")

from distill_cases import hook_count
from torch import nn
from torch.nn import functional

from subdistill.capture import Capture, hooks, probe
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
        assert hook_count(model) == 1
        raise RuntimeError("stop")
    assert hook_count(model) == 0


def test_hook_may_change_the_output():
    model, x = conv_net(), torch.randn(2, 3, 8, 8)
    seen = []

    def halve(name, output):
        seen.append(name)
        return output / 2

    before = model[4](model[3](model[2](model[1](model[0](x)) / 2)))
    with hooks(model, {"middle": model[1]}, halve):
        torch.testing.assert_close(model[:5](x), before)
    assert seen == ["middle"]
    assert hook_count(model) == 0


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
    """Patches no longer reach the head, only the class token does, by the weights of the head."""
    model, x = Tokens(), torch.randn(2, 6, 3)
    for n_prefix in (1, 0):
        model.num_prefix_tokens = n_prefix
        with frozen(model), Capture(model, ["block"], gradients=True) as captured:
            gradients = captured.gradients(model(x)[:, 0])["block"]
        expected = torch.zeros(2, 4, 7)
        expected[:, :, 0] = model.head.weight[0]
        torch.testing.assert_close(gradients, expected[:, :, n_prefix:])


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


# %% Shapes


class Mixed(nn.Module):
    """A layer that runs twice, one that returns a tuple, one that returns a dict, one unused."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1))
        self.pool = nn.AvgPool2d(2)
        self.block = TupleBlock()
        self.words, self.unused = Words(), nn.Linear(1, 1)

    def forward(self, x, shift):
        x = self.pool(self.pool(self.conv(x + shift)))
        x, _ = self.block(x.flatten(2).transpose(1, 2))
        return self.words(x)["x"].mean(dim=1)


class Words(nn.Module):
    def forward(self, x):
        return {"x": x}


def test_probe_records_every_call_in_its_order():
    torch.manual_seed(0)
    model, inputs = Mixed().train(), (torch.randn(3, 2, 8, 8), torch.ones(1))
    found = probe(model, inputs)
    assert [(layer.name, layer.outer, layer.shape) for layer in found.layers] == [
        ("conv.0", True, (3, 4, 8, 8)),
        ("conv", True, (3, 4, 8, 8)),
        ("pool", True, (3, 4, 4, 4)),
        ("pool", True, (3, 4, 2, 2)),
        ("block.mix", False, (3, 4, 4)),
        ("block", True, (3, 4, 4)),
    ]
    assert found["pool"] is found.layers[3]
    assert (found["pool"].n_channels, found["pool"].n_positions) == (4, 4)
    torch.testing.assert_close(found.output, model(*inputs))
    assert model.training
    assert hook_count(model) == 0
    for name in ("words", "unused"):
        with pytest.raises(ValueError, match=f"Layer '{name}' returned no map: choose a layer"):
            found[name]
    with pytest.raises(ValueError, match=r"no layer 'block.max'; close names are block\.mix"):
        found["block.max"]


def test_probe_agrees_with_the_maps():
    model, x = Tokens(), torch.randn(2, 6, 3)
    with Capture(model, ["embed", "block"]) as captured:
        model(x)
        shapes = {name: value.shape for name, value in captured.maps().items()}
    found = probe(model, x)
    assert {name: found[name].shape for name in shapes} == shapes
    assert found["block"].layout.n_prefix == 1


def test_probe_of_a_wrapped_model():
    model, x = conv_net(inplace=False), torch.randn(2, 3, 8, 8)
    compiled = torch.compile(nn.DataParallel(model), backend="eager")
    assert probe(compiled, x).layers == probe(model, x).layers


# %% Bad input


def test_layers_that_do_not_exist_or_return_no_tensor():
    model = nn.Sequential(Words())
    with pytest.raises(ValueError, match=r"no layer 'layer_1'; close names are 0"):
        Capture(model, ["layer_1"])
    with Capture(model, ["0"]), pytest.raises(TypeError, match="Layer '0' returns dict"):
        model(torch.zeros(1))
