"""Classes of a subtask among outputs and samples."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch.utils.data import Subset, TensorDataset

from subdistill.subtask import Subtask, check_labels, choose, labels_of, select_classes, split


@pytest.fixture
def images():
    """Labels 0 to 3, each of ten samples; the image is the number of the sample."""
    data = TensorDataset(torch.arange(40), torch.arange(40) % 4)
    data.targets = data.tensors[1].tolist()
    return data


def test_group_of_classes_counts_as_one():
    """The probability of a group is the sum of its members'."""
    output = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    found = choose(output, [3, [0, 4]]).softmax(dim=1)
    chosen = output[:, [3, 0, 4]].softmax(dim=1)
    torch.testing.assert_close(found[:, 0], chosen[:, 0])
    torch.testing.assert_close(found[:, 1], chosen[:, 1:].sum(dim=1))
    assert torch.equal(choose(output, [3, 1]), output[:, [3, 1]])
    assert torch.equal(Subtask(nn.Identity(), [3, 1])(output), output[:, [3, 1]])
    assert choose(output, None) is output


def test_classes_and_labels_that_do_not_exist():
    with pytest.raises(ValueError, match=r"\[0, 3\] are not all among .* \(2, 3\): count from 0"):
        choose(torch.zeros(2, 3), [0, 3])
    with pytest.raises(ValueError, match=r"labels go from 0 to 7, .* classes 0 to 3.*select_class"):
        check_labels(torch.tensor([0, 7]), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="batches hold no labels"):
        check_labels(None, torch.zeros(2, 4))


def test_selected_labels_are_renumbered(images):
    found = select_classes(images, [3, [0, 1]])
    assert len(found) == 30
    assert all((int(x) % 4 == 3) == (label == 0) for x, label in found)
    assert labels_of(found).tolist() == [label for _, label in found]
    half = Subset(images, range(0, 40, 2))  # labels 0 and 2 alone
    assert [int(x) for x, _ in select_classes(half, [2])] == list(range(2, 40, 4))
    with pytest.raises(ValueError, match="No sample has the label 1; labels go from 0 to 2"):
        select_classes(half, [0, 1])
    with pytest.raises(ValueError, match="labels of TensorDataset are not known: give it"):
        select_classes(TensorDataset(torch.zeros(3)), [0])


def test_split_draws_from_each_class(images):
    part, rest = split(images, 0.3, seed=1)
    assert labels_of(part).bincount().tolist() == [3] * 4
    assert sorted([*part.indices, *rest.indices]) == list(range(40))
    assert part.indices != split(images, 0.3, seed=2)[0].indices
    assert part.indices == split(images, 0.3, seed=1)[0].indices
    assert labels_of(split(images, 0.01)[0]).bincount().tolist() == [1] * 4
    with pytest.raises(ValueError, match="above 0 and at most 1, got 0"):
        split(images, 0)
