"""Subspaces of a layer's channels, made of moments."""

import pytest

torch = pytest.importorskip("torch")

from distill_cases import conv_teacher, correlated, labelled_batches, moments_of

from subdistill.moments import Moments, measure_moments
from subdistill.subspace import (
    SUBSPACES,
    Subspace,
    definite_relevance,
    fit_subspaces,
    make_subspace,
)


def test_definite_matrix_where_plain_relevance_is_indefinite():
    moments = moments_of(*correlated())
    plain = torch.linalg.eigvalsh(moments.cross + moments.cross.T)
    definite = torch.linalg.eigvalsh(definite_relevance(moments))
    assert plain.min() < -0.1 * plain.max()
    assert definite.min() > -1e-12 * definite.max()


def test_definite_matrix_of_opposite_gradients():
    """With c = -a, S_ac + S_ca + 2 S_a + 2 S_c = 2 S_a, of full rank."""
    a = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).double()
    moments = moments_of(a - a.mean(dim=0), -(a - a.mean(dim=0)))
    torch.testing.assert_close(definite_relevance(moments), 2 * moments.activation)


def test_prca_finds_the_direction_that_matters():
    """Much variance in one channel, relevance in another: PCA and PRCA disagree."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(2000, 3, generator=generator) * torch.tensor([3.0, 1.0, 0.1])
    c = torch.stack([0 * a[:, 0], 10 * a[:, 1], 0 * a[:, 2]], dim=1)
    moments = moments_of(a, c)
    leading = {
        name: make_subspace(moments, 1, name).basis[:, 0].abs().argmax().item()
        for name in ("pca", "prca", "plain_prca", "gradient_pca")
    }
    assert leading == {"pca": 0, "prca": 1, "plain_prca": 1, "gradient_pca": 1}


def test_principal_components_are_those_of_numpy():
    import numpy as np

    a = torch.randn(200, 5, generator=torch.Generator().manual_seed(0)).double()
    moments = Moments(5)
    for part in a.split(30):
        moments.update(part)
    subspace = make_subspace(moments, 2, "pca")
    _, singular, rows = np.linalg.svd((a - a.mean(dim=0)).numpy(), full_matrices=False)
    np.testing.assert_allclose(subspace.spectrum, singular**2 / 200, rtol=1e-5)
    np.testing.assert_allclose(np.abs(np.sum(rows[:2] * subspace.basis.numpy().T, 1)), 1, atol=1e-5)
    assert subspace.energy == pytest.approx((singular[:2] ** 2).sum() / (singular**2).sum())


@pytest.mark.parametrize("method", sorted(SUBSPACES))
def test_projection_and_reconstruction(method):
    moments = moments_of(*correlated())
    whole = make_subspace(moments, 6, method)
    x = torch.randn(4, 7, 6)
    torch.testing.assert_close(whole.reconstruct(whole.project(x)), x, rtol=1e-4, atol=1e-4)
    assert whole.energy == pytest.approx(1, abs=1e-5)
    part = whole.truncate(3)
    torch.testing.assert_close(part.basis.T @ part.basis, torch.eye(3), rtol=0, atol=1e-5)
    once = part.reconstruct(part.project(x))
    torch.testing.assert_close(part.reconstruct(part.project(once)), once, rtol=1e-4, atol=1e-4)
    assert 0 < part.energy < whole.energy
    variance = (part.basis.T.double() @ moments.activation @ part.basis.double()).diagonal()
    torch.testing.assert_close(part.variance.double(), variance, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["prca", "plain_prca", "pca", "gradient_pca"])
def test_rotated_channels_give_the_rotated_subspace(method):
    moments = moments_of(*correlated())
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(5))).Q
    rotated = moments_of(*(x @ rotation.double().T for x in correlated()))
    one, other = (make_subspace(m, 3, method).basis for m in (moments, rotated))
    torch.testing.assert_close(
        rotation @ one @ one.T @ rotation.T, other @ other.T, rtol=0, atol=1e-4
    )


def test_order_of_layers_does_not_matter():
    model, batches = conv_teacher(), labelled_batches()
    one = fit_subspaces(model, batches, {"0": 2, "3": 3}, positions=4)
    other = fit_subspaces(model, batches, {"3": 3, "0": 2}, positions=4)
    for name in ("0", "3"):
        assert torch.equal(one[name].basis, other[name].basis)


def test_a_function_as_subspace():
    moments = moments_of(*correlated())
    last = make_subspace(
        moments, 2, lambda m, generator: (torch.ones(6), torch.eye(6).double().flip(1))
    )
    assert torch.equal(last.basis, torch.eye(6)[:, [5, 4]])


def test_file_round_trip(tmp_path):
    subspace = make_subspace(moments_of(*correlated()), 3)
    subspace.save(tmp_path / "one.safetensors")
    again = Subspace.load(tmp_path / "one.safetensors")
    assert all(torch.equal(value, getattr(again, name)) for name, value in vars(subspace).items())


def test_file_of_something_else(tmp_path):
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other.safetensors holds no subspace"):
        Subspace.load(tmp_path / "other.safetensors")


# %% Bad input


def test_errors_say_what_to_do():
    model, batches, moments = conv_teacher(), labelled_batches(), moments_of(*correlated())
    with pytest.raises(ValueError, match="between 1 and the 6 channels, got 7"):
        make_subspace(moments, 7)
    with pytest.raises(ValueError, match=r"no subspace 'magic': pass one of \['prca'"):
        make_subspace(moments, 2, "magic")
    with pytest.raises(ValueError, match="keeps all 6 channels, not 2"):
        make_subspace(moments, 2, "identity")
    with pytest.raises(ValueError, match="hold no gradients"):
        make_subspace(measure_moments(model, batches, ["0"], context=None)["0"], 2)
    with pytest.raises(ValueError, match="gradients are zero in this layer"):
        fit_subspaces(model, batches, {"0": 2}, context=lambda output, targets: 0 * output[:, 0])
    with pytest.raises(ValueError, match="activations do not vary in this layer"):
        make_subspace(moments_of(torch.ones(5, 3), torch.ones(5, 3)), 2)
