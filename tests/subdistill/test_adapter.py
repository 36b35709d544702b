"""Maps of a student and a teacher at the same positions, and learned maps of channels."""

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional

from subdistill.adapter import Centring, Projector, Rotation, align


@pytest.mark.parametrize(("n_in", "n_out"), [(4, 4), (6, 3), (3, 6)])
def test_rotation_stays_orthonormal_while_it_learns(n_in, n_out):
    torch.manual_seed(0)
    rotation = Rotation(n_in, n_out)
    optimizer = torch.optim.AdamW(rotation.parameters(), 0.1)
    x, y = torch.randn(5, n_in, 7), torch.randn(5, n_out, 7)
    before = rotation.linear.weight.detach().clone()
    for _ in range(10):
        optimizer.zero_grad()
        (rotation(x) - y).square().mean().backward()
        optimizer.step()
    weight = rotation.linear.weight
    gram = weight @ weight.T if n_in >= n_out else weight.T @ weight
    torch.testing.assert_close(gram, torch.eye(min(n_in, n_out)), rtol=0, atol=1e-5)
    assert (weight - before).abs().max() > 0.1


def test_centring_subtracts_the_mean_of_all_and_then_of_recent_batches():
    centring, batches = Centring(2, momentum=0.25), torch.randn(3, 4, 2, 5)
    for batch in batches:
        centring(batch)
    torch.testing.assert_close(centring.mean, batches.mean(dim=(0, 1, 3)))
    for _ in range(40):
        centring(torch.ones(4, 2, 5))
    torch.testing.assert_close(centring.mean, torch.ones(2), rtol=0, atol=1e-4)
    centring.eval()(torch.zeros(4, 2, 5))
    torch.testing.assert_close(centring.mean, torch.ones(2), rtol=0, atol=1e-4)


def test_projector_of_two_layers_is_not_affine():
    torch.manual_seed(0)
    projector, x = Projector(3, 16, 2), torch.randn(1, 3, 1)
    assert (projector(x) + projector(-x) - 2 * projector(0 * x)).abs().max() > 1e-2
    hidden = projector.layers[0](x[0, :, 0]).relu()
    torch.testing.assert_close(projector(x)[0, :, 0], projector.layers[1](hidden))


def test_finer_map_is_averaged():
    fine, coarse = torch.randn(2, 3, 4, 8), torch.randn(2, 5, 4, 4)
    for order in (1, -1):
        found = align(*(fine, coarse)[::order])[::order]
        expected = fine.reshape(2, 3, 4, 4, 2).mean(dim=4).flatten(2)
        torch.testing.assert_close(found[0], expected)
        assert torch.equal(found[1], coarse.flatten(2))


def test_tokens_are_laid_out_as_a_square():
    tokens, square = torch.randn(2, 3, 16), torch.randn(2, 5, 2, 2)
    found, _ = align(tokens, square)
    expected = functional.avg_pool2d(tokens.reshape(2, 3, 4, 4), 2).flatten(2)
    torch.testing.assert_close(found, expected)
    cube, _ = align(torch.randn(2, 3, 8), torch.randn(2, 3, 2, 2, 2))
    assert cube.shape == (2, 3, 8)
    one, other = align(torch.randn(2, 3, 1), square)  # a vector beside a map
    assert one.shape == (2, 3, 1)
    torch.testing.assert_close(other[:, :, 0], square.mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("one", "other"), [((2, 3, 15), (2, 3, 4, 4)), ((2, 3, 4, 4), (2, 3, 4, 4, 4))]
)
def test_maps_that_do_not_go_together(one, other):
    with pytest.raises(ValueError, match="cannot be compared with"):
        align(torch.zeros(one), torch.zeros(other))
