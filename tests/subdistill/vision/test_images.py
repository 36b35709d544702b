"""The engine pairs layers by itself, and says what is wrong before it works long."""

import json
from dataclasses import replace
from functools import partial

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from distill_cases import FAST, LAYERS, Net, Noisy, loader, net, trained_teacher
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from subdistill.data import batches
from subdistill.engine import distill
from subdistill.objectives import OBJECTIVES, kd_loss
from subdistill.pairing import pair_layers
from subdistill.training import Recipe


@pytest.fixture(scope="module")
def teacher():
    return trained_teacher()


# %% Pairs


def test_pairs_by_resolution():
    one, other = net(0, 4), nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 3, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip
    assert pair_layers(one, other, torch.zeros(1, 2, 6, 6)) == {"norm": "1", "conv2": "3"}


class Transformer(nn.Module):
    num_prefix_tokens = 1

    def __init__(self, depth, width, n_classes=3):
        super().__init__()
        self.embed = nn.Conv2d(2, width, 2, stride=2)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 2, 2 * width, 0.0, batch_first=True)
            for _ in range(depth)
        )
        self.head = nn.Linear(width, n_classes)

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), 1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.head(x[:, 0])


@pytest.mark.filterwarnings("ignore:.*nested_tensor.*")
@pytest.mark.parametrize(
    ("student", "layers"),
    [
        (lambda: Transformer(3, 4), {"blocks.1": "blocks.0", "blocks.4": "blocks.1"}),
        (lambda: Net(4), {"blocks.1": "norm", "blocks.4": "conv2"}),
    ],
)
def test_transformer_teaches_transformer_and_convolutions(student, layers):
    torch.manual_seed(0)
    found = distill(Transformer(6, 8), student(), loader(), recipe=FAST)
    assert found.layers == layers
    assert found.history[-1]["loss"] < found.history[0]["loss"]


# %% Bad input


def test_errors_come_before_long_work_and_say_what_to_do(teacher):
    run = partial(distill, teacher, net(1, 4))
    with pytest.raises(ValueError, match="no layer 'conv_1'; close names are conv1"):
        run(loader(), layers={"conv_1": "conv1"})
    with pytest.raises(ValueError, match="no layer 'layer9'"):
        run(loader(), layers={"conv1": "layer9"})
    with pytest.raises(ValueError, match="gave no batch"):
        run(DataLoader(TensorDataset(torch.zeros(0, 2, 6, 6)), 4))
    with pytest.raises(ValueError, match="no objective 'magic'"):
        run(loader(), objective="magic")
    for rank in (5, 0):
        with pytest.raises(ValueError, match=rf"rank {rank} does not fit layer 'conv1': .* 8 chan"):
            run(loader(), layers=LAYERS, recipe=replace(FAST, rank=rank))
    with pytest.raises(ValueError, match="no subspace 'magic'"):
        run(loader(), layers=LAYERS, subspace="magic")
    with pytest.raises(ValueError, match="no context 'magic'"):
        run(loader(), layers=LAYERS, context="magic")
    with pytest.raises(ValueError, match=r"\(16, 2\), the teacher of \(16, 3\): pass classes="):
        distill(teacher, net(1, 4, n_classes=2), loader(), layers=LAYERS)
    with pytest.raises(ValueError, match=r"classes \[0, 3\] are not all among the outputs"):
        distill(teacher, net(1, 4, n_classes=2), loader(), layers=LAYERS, classes=[0, 3])
    with pytest.raises(ValueError, match=r"labels go from 0 to 2, .* classes 0 to 1"):
        distill(teacher, net(1, 4, n_classes=2), loader(), objective="kd", classes=[0, 1])
    with pytest.raises(TypeError, match="must come in a DataLoader, got list"):
        run([torch.zeros(1, 2, 6, 6)])
    with pytest.raises(ValueError, match="no subspace of 'conv2'"):
        run(loader(), layers=LAYERS, subspace={"conv1": None})
    with pytest.raises(ValueError, match="no schedule 'magic'"):
        Recipe(schedule="magic")
    with pytest.raises(ValueError, match="at least one epoch"):
        Recipe(epochs=0)


def test_identity_of_too_many_channels_is_refused_before_the_pass(teacher):
    seen = []

    class Counted(Noisy):
        def __getitem__(self, index):
            seen.append(index)
            return super().__getitem__(index)

    with pytest.raises(ValueError, match='"identity" keeps all 8 channels, not 4'):
        distill(
            teacher, net(1, 4), DataLoader(Counted(), 16), layers=LAYERS, subspace="identity"
        )  # fmt: skip
    assert seen == list(range(16))  # the batch that tells the channels


def test_layers_that_do_not_fit_fail_early(teacher):
    one = nn.Sequential(nn.Flatten(2), nn.Conv1d(2, 4, 2), nn.Flatten(), nn.Linear(140, 3))
    with pytest.raises(ValueError, match=r"\(16, 4, 35\) cannot be laid beside"):
        distill(teacher, one, loader(), layers={"conv1": "1"})


def test_loss_that_is_not_finite_stops_with_the_batch(teacher, tmp_path):
    data = DataLoader(TensorDataset(torch.full((4, 2, 6, 6), torch.nan), torch.zeros(4).long()), 4)
    with pytest.raises(RuntimeError, match=r"output nan.*Lower learning_rate"):
        distill(teacher, net(1, 4), data, objective="kd", folder=tmp_path)
    batch = torch.load(tmp_path / "bad_batch.pt", weights_only=True)
    assert batch["inputs"].isnan().all()
    assert batch["targets"].tolist() == [0] * 4


def test_checkpoint_of_another_configuration(teacher, tmp_path):
    options = dict(layers=LAYERS, folder=tmp_path)
    distill(teacher, net(1, 4), loader(), recipe=FAST, **options)
    with pytest.raises(ValueError, match=r"another configuration \(weight was 1.0, is 2.0\)"):
        distill(teacher, net(1, 4), loader(), recipe=replace(FAST, weight=2.0), **options)
    with pytest.raises(ValueError, match=r"student was Net of \d+ parameters, is Net of"):
        distill(teacher, net(1, 3), loader(), recipe=FAST, **options)
    with pytest.raises(ValueError, match="objective was subdistill, is FitNet"):
        distill(
            teacher, net(1, 4), loader(), recipe=FAST, objective=OBJECTIVES["fitnet"], **options
        )
    assert json.loads((tmp_path / "config.json").read_text())["output_loss"] == kd_loss.__name__


def test_batches_of_any_form():
    x, y = torch.zeros(1), torch.ones(1)
    cpu = torch.device("cpu")
    assert [b[1] for b in batches([x, (x,), [x, y], (x, y, y)], cpu)] == [None, None, y, y]
