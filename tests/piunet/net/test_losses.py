"""Terms of the loss against the exact earth mover's distance, and in limiting cases."""

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.stats import wasserstein_distance

torch = pytest.importorskip("torch")

from mne_piunet.net.losses import (
    draw_projections,
    losses,
    normalized_transport,
    pyramid,
    sliced_distance,
    transport,
)

SHAPE = (12, 16, 8)


def point(*place, moment=(1.0, 0.0, 0.0)):
    """One source: moments and strength."""
    field = torch.zeros(1, 4, *SHAPE)
    field[0, :3, *place] = torch.tensor(moment)
    field[0, 3, *place] = 1
    return field


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def mask():
    return torch.ones(1, 1, *SHAPE)


def test_truth_has_no_loss(mask):
    strength = torch.rand(1, 1, *SHAPE, generator=generator())
    strength /= strength.sum()
    target = torch.cat([0.6 * strength, 0 * strength, -0.8 * strength, strength], dim=1)
    for name, term in losses(target.clone(), target, mask, generator()).items():
        assert term.item() == pytest.approx(0, abs=1e-4), name


def test_equal_strength_everywhere_costs_one(mask):
    uniform = torch.cat([torch.zeros(1, 3, *SHAPE), mask / mask.sum()], dim=1)
    terms = losses(uniform, point(5, 8, 3), mask, generator())
    assert terms["sliced"].item() == pytest.approx(1, abs=1e-5)
    assert terms["pyramid"].item() == pytest.approx(1, abs=1e-5)


def test_the_farther_the_dearer(mask):
    """Both terms grow with distance, in the mean over draws."""
    target = point(2, 2, 2)
    costs = []
    for shift in (1, 2, 4, 8):
        moved = point(2, 2 + shift, 2)
        every = [losses(moved, target, mask, generator(s)) for s in range(20)]
        costs.append([np.mean([t[name].item() for t in every]) for name in ("sliced", "pyramid")])
    assert (np.diff(costs, axis=0) > 0).all()


def test_sliced_distance_is_the_wasserstein_distance_of_projections():
    rng = np.random.default_rng(0)
    one, other = rng.random((2, *SHAPE))
    one, other = one / one.sum(), other / other.sum()
    lines = draw_projections(SHAPE, generator())
    surplus = torch.from_numpy(one - other)[None, None]
    expected = np.mean(
        [wasserstein_distance(k, k, one.ravel(), other.ravel()) for k in lines.numpy()]
    )
    assert sliced_distance(surplus, lines).item() == pytest.approx(expected, rel=1e-6)


def test_pyramid_of_neighbours_depends_on_the_cubes():
    """Neighbours in the smallest cube move by its width; others in the first that holds both."""
    surplus = (point(4, 4, 4) - point(5, 4, 4))[:, 3:]
    assert pyramid(surplus, [0, 0, 0]).item() == pytest.approx(1)
    assert pyramid(surplus, [1, 0, 0]).item() == pytest.approx(1 + 2)
    assert pyramid(surplus, [3, 0, 0]).item() == pytest.approx(1 + 2 + 4 + 8)


def least_work(one, other, places):
    """Earth mover's distance by a linear program over all pairs of places."""
    n = len(places)
    apart = np.linalg.norm(places[:, None] - places, axis=2)
    sent, received = np.kron(np.eye(n), np.ones(n)), np.kron(np.ones(n), np.eye(n))
    found = linprog(apart.ravel(), A_eq=np.vstack([sent, received]), b_eq=[*one, *other])
    return found.fun


def test_transport_is_the_earth_movers_distance():
    rng = np.random.default_rng(0)
    mask = torch.from_numpy(rng.random((1, 1, 4, 3, 2)) < 0.7)
    one, other = (torch.from_numpy(rng.random(mask.shape)) * mask for _ in range(2))
    one, other = one / one.sum(), other / other.sum()
    places = np.argwhere(mask[0, 0].numpy())
    expected = least_work(one[mask].numpy(), other[mask].numpy(), places)
    found = transport(one - other, mask.double(), [0, 0, 0], block_side=1)
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_the_gradient_of_the_transport_is_its_slope(mask):
    """Mass sent from one place to another changes the distance as the potential tells."""
    rng = np.random.default_rng(1)
    one, other = (torch.from_numpy(rng.random((1, 1, *SHAPE))) for _ in range(2))
    one, other = one / one.sum(), other / other.sum()
    one.requires_grad_()
    mask = mask.double()
    cost = transport(one - other, mask, [1, 0, 1])
    cost.backward()
    step = torch.zeros_like(one)
    step[0, 0, 2, 3, 4], step[0, 0, 9, 12, 1] = 1e-6, -1e-6
    change = transport(one.detach() + step - other, mask, [1, 0, 1]) - cost
    assert change.item() == pytest.approx((one.grad * step).sum().item(), rel=1e-3)


def test_transport_between_blocks(mask):
    """Voxels of a block share their mass; the offset moves the blocks."""
    near = (point(4, 4, 4) - point(5, 4, 4))[:, 3:]
    assert transport(near, mask, [0, 0, 0]).item() == 0
    assert transport(near, mask, [1, 0, 0]).item() == pytest.approx(2)
    far = (point(2, 2, 2) - point(8, 10, 2))[:, 3:]
    assert transport(far, mask, [0, 1, 1]).item() == pytest.approx(10, rel=1e-6)


def test_normalized_transport_is_relative_to_equal_strength_everywhere(mask):
    """About 1: the blocks above the line are two voxels wide, those below four."""
    uniform, truth = mask / mask.sum(), point(5, 8, 3)[:, 3:]
    assert normalized_transport(uniform, truth, mask, generator()).item() == pytest.approx(
        1, rel=0.1
    )
    assert normalized_transport(truth.clone(), truth, mask, generator()).item() == 0


def test_turned_moments_cost_direction_alone(mask):
    target = mask.repeat(1, 4, 1, 1, 1) / mask.sum()
    target[:, 1:3] = 0
    target[:, 3, 5, 8, 3] += 1
    target[:, 0, 5, 8, 3] += 1
    turned = target * torch.tensor([-1, 1, 1, 1]).reshape(1, 4, 1, 1, 1)
    terms = losses(turned, target, mask, generator())
    assert terms["direction"].item() == pytest.approx(2, rel=1e-3)
    assert terms["moment"].item() == pytest.approx(4, rel=1e-3)  # strengths sum to 2 here
    assert terms["sliced"].item() == terms["pyramid"].item() == 0
