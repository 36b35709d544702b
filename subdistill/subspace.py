"""Subspaces of a layer's channels: the part of a teacher that is worth learning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from subdistill._docs import fill_doc
from subdistill.files import check_new, read_tensors, replacing, write_tensors
from subdistill.moments import Moments, measure_moments

Basis = Callable[[Moments, torch.Generator], tuple[Tensor, Tensor]]
"""Function of moments and generator; returns spectrum (d,) and basis (d, d), best column first."""


# %% Bases


def prca(moments: Moments, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return eigenvectors of the semi-definite relevance matrix (Chormai et al., 2026)."""
    return _eigen(definite_relevance(moments))


def definite_relevance(moments: Moments) -> Tensor:
    """Return the positive semi-definite matrix of relevance.

    Parameters
    ----------
    moments : Moments
        Moments with gradients.

    Returns
    -------
    matrix : Tensor, shape (d, d)
        S_ac + S_ca + 2 sqrt(tr S_c / tr S_a) S_a + 2 sqrt(tr S_a / tr S_c) S_c.
    """
    s_a, s_c = moments.activation, moments.context
    if s_a.trace() <= 0 or s_c.trace() <= 0:
        what = "activations do not vary" if s_a.trace() <= 0 else "gradients are zero"
        raise ValueError(
            f"The {what} in this layer: choose another layer, more data, or another context. "
            "(After the last block of a transformer, only the class token reaches the output.)"
        )
    ratio = (s_c.trace() / s_a.trace()).sqrt()
    return moments.cross + moments.cross.T + 2 * ratio * s_a + 2 / ratio * s_c


def plain_prca(moments: Moments, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return eigenvectors of S_ac + S_ca, which is indefinite (Chormai et al., 2024)."""
    return _eigen(moments.cross + moments.cross.T)


def pca(moments: Moments, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return principal components of the activations, from S_a."""
    return _eigen(moments.activation)


def gradient_pca(moments: Moments, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return principal components of the gradients, from S_c."""
    return _eigen(moments.context)


def random(moments: Moments, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return random directions, and the variance of the activations along each."""
    s_a = moments.activation
    basis = torch.linalg.qr(torch.randn(s_a.shape, generator=generator, dtype=s_a.dtype)).Q
    return (basis * (s_a @ basis)).sum(dim=0), basis


def identity(moments: Moments, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return all channels, unchanged."""
    s_a = moments.activation
    return s_a.diagonal(), torch.eye(len(s_a), dtype=s_a.dtype)


SUBSPACES: dict[str, Basis] = dict(
    prca=prca,
    plain_prca=plain_prca,
    pca=pca,
    gradient_pca=gradient_pca,
    random=random,
    identity=identity,
)
"""Bases by name."""


def find_basis(method: str | Basis) -> Basis:
    """Return the basis of a name; a function is returned as it is."""
    if not isinstance(method, str):
        return method
    if method not in SUBSPACES:
        raise ValueError(f"There is no subspace {method!r}: pass one of {list(SUBSPACES)}.")
    return SUBSPACES[method]


def _eigen(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues and eigenvectors, the largest first."""
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    return values.flip(0), vectors.flip(1)


# %% Subspaces


@dataclass(frozen=True, eq=False)
class Subspace:
    """A subspace of the channels of a layer.

    Attributes
    ----------
    mean : Tensor, shape (d,)
        Mean activation mu.
    basis : Tensor, shape (d, k)
        Orthonormal columns U.
    spectrum : Tensor, shape (d,)
        Eigenvalues of all d directions, or the other numbers by which the basis is ordered.
    variance : Tensor, shape (k,)
        Variance of the activations along each column, u_i^T S_a u_i.
    total_variance : Tensor, shape ()
        Variance of all channels, tr S_a.
    """

    mean: Tensor
    basis: Tensor
    spectrum: Tensor
    variance: Tensor
    total_variance: Tensor

    @property
    def rank(self) -> int:
        """Number of dimensions k."""
        return self.basis.shape[1]

    @property
    def energy(self) -> float:
        """Fraction of the variance of the activations that lies in the subspace."""
        return float(self.variance.sum() / self.total_variance)

    def project(self, values: Tensor) -> Tensor:
        """Return coordinates in the subspace.

        Parameters
        ----------
        values : Tensor, shape (..., d)
            Activations.

        Returns
        -------
        coordinates : Tensor, shape (..., k)
            U^T (a - mu).
        """
        return (values - self.mean.to(values)) @ self.basis.to(values)

    def reconstruct(self, coordinates: Tensor) -> Tensor:
        """Return activations with given coordinates that lie in the subspace.

        Parameters
        ----------
        coordinates : Tensor, shape (..., k)
            Coordinates, as :meth:`project` returns them.

        Returns
        -------
        values : Tensor, shape (..., d)
            U z + mu.
        """
        return coordinates @ self.basis.to(coordinates).T + self.mean.to(coordinates)

    def truncate(self, rank: int) -> Subspace:
        """Return the subspace of the first columns.

        Parameters
        ----------
        rank : int
            Number of columns to keep.

        Returns
        -------
        subspace : Subspace
            The smaller subspace.
        """
        check_rank(rank, self.rank)
        return Subspace(
            self.mean, self.basis[:, :rank], self.spectrum, self.variance[:rank],
            self.total_variance,
        )  # fmt: skip

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the subspace to a file, as a whole or not at all.

        Parameters
        ----------
        path : str | pathlib.Path
            File to write (.safetensors).
        overwrite : bool
            Replace an existing file.
        """
        check_new(path, overwrite)
        with replacing(path) as new:
            write_tensors(new, vars(self))

    @classmethod
    def load(cls, path: str | Path) -> Subspace:
        """Read a subspace from a file.

        Parameters
        ----------
        path : str | pathlib.Path
            File that :meth:`save` wrote.

        Returns
        -------
        subspace : Subspace
            The subspace.
        """
        what = "a file that Subspace.save wrote"
        parts = read_tensors(path, what)
        if set(parts) != {field.name for field in fields(cls)}:
            raise ValueError(f"{path} holds no subspace: pass {what}.")
        if not all(part.isfinite().all() for part in parts.values()):
            raise ValueError(f"{path} holds numbers that are not finite: fit the subspace again.")
        return cls(**parts)


@fill_doc
def make_subspace(
    moments: Moments, rank: int, method: str | Basis = "prca", *, seed: int = 0
) -> Subspace:
    """Find a subspace of a layer from its moments.

    Parameters
    ----------
    moments : Moments
        Moments of the layer.
    rank : int
        Number of dimensions k, at most the number of channels.
    %(method)s
    seed : int
        Seed of random subspaces.

    Returns
    -------
    subspace : Subspace
        The subspace, in single precision.

    Examples
    --------
    >>> import torch
    >>> from subdistill import Moments, make_subspace
    >>> moments = Moments(2)
    >>> moments.update(torch.tensor([[0.0, 1.0], [2.0, 1.0], [0.0, 3.0], [4.0, 0.0]]))
    >>> make_subspace(moments, 1, "pca").basis.abs()
    tensor([[0.8643],
            [0.5030]])
    """
    basis_of, s_a = find_basis(method), moments.activation
    check_rank(rank, len(s_a), basis_of)
    spectrum, basis = basis_of(moments, torch.Generator().manual_seed(seed))
    basis = basis[:, :rank]
    variance = (basis * (s_a @ basis)).sum(dim=0)
    parts = (moments.mean, basis, spectrum, variance, s_a.trace())
    return Subspace(*(part.float().contiguous() for part in parts))


@fill_doc
def fit_subspaces(
    teacher: nn.Module,
    data: Iterable,
    ranks: Mapping[str, int],
    method: str | Basis = "prca",
    *,
    seed: int = 0,
    **options: Any,
) -> dict[str, Subspace]:
    """Find subspaces of several layers in one pass over the data.

    Parameters
    ----------
    %(teacher)s
    %(data)s
    ranks : dict of int
        Number of dimensions k by the name of each layer.
    %(method)s
    seed : int
        Seed of random positions and random subspaces.
    **options : dict
        The arguments `context`, `classes`, `positions` and `rules` of
        :func:`subdistill.measure_moments`.

    Returns
    -------
    subspaces : dict of Subspace
        Subspace of each layer.

    Examples
    --------
    >>> import torch
    >>> from subdistill import fit_subspaces
    >>> teacher = torch.nn.Sequential(torch.nn.Linear(5, 4))
    >>> fit_subspaces(teacher, [torch.randn(8, 5)], {"0": 2})["0"].rank
    2
    """
    basis_of = find_basis(method)
    moments = measure_moments(teacher, data, ranks, seed=seed, **options)
    return {
        name: make_subspace(moments[name], rank, basis_of, seed=seed)
        for name, rank in ranks.items()
    }


@fill_doc
def check_rank(rank: int, most: int, method: str | Basis = "prca") -> None:
    """Raise if a layer has no subspace of a given rank.

    Parameters
    ----------
    rank : int
        Number of dimensions k.
    most : int
        Number of channels of the layer.
    %(method)s
    """
    if not 1 <= rank <= most:
        raise ValueError(f"The rank must be between 1 and the {most} channels, got {rank}.")
    if find_basis(method) is identity and rank < most:
        raise ValueError(
            f'The subspace "identity" keeps all {most} channels, not {rank}: choose "pca", '
            "or a student with as many channels."
        )
