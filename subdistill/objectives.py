"""Losses of a student: from the teacher's output, and from its layers in many ways.

A layer loss is a module for one pair of layers. It is called with the aligned maps of the student
(batch, m, positions) and the teacher (batch, d, positions). An objective is any callable that takes
a :class:`Pair` and returns such a module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from subdistill._docs import fill_doc
from subdistill.adapter import Centring, Projector, Rotation, align, mix
from subdistill.subspace import Subspace


@dataclass(frozen=True)
class Pair:
    """A student's layer and the teacher's layer that it learns from.

    Attributes
    ----------
    n_student, n_teacher : int
        Numbers of channels m and d.
    subspace : Subspace | None
        Relevant subspace of the teacher's layer; only the objective "subdistill" needs it.
    """

    n_student: int
    n_teacher: int
    subspace: Subspace | None = None


# %% The output


def kd_loss(output: Tensor, wanted: Tensor, temperature: float = 4.0) -> Tensor:
    """Kullback-Leibler divergence of softened class probabilities, times temperature squared.

    Parameters
    ----------
    output, wanted : Tensor, shape (batch, n_classes)
        Logits of student and teacher.
    temperature : float
        Number that the logits are divided by.

    Returns
    -------
    loss : Tensor, shape ()
        Mean over the batch.

    References
    ----------
    Hinton, Vinyals and Dean (2015), arXiv:1503.02531.

    Examples
    --------
    >>> import torch
    >>> from subdistill.objectives import kd_loss
    >>> kd_loss(torch.tensor([[1.0, 0.0]]), torch.tensor([[4.0, 3.0]]))
    tensor(0.)
    """
    found, true = (functional.log_softmax(x / temperature, dim=1) for x in (output, wanted))
    return temperature**2 * functional.kl_div(found, true, reduction="batchmean", log_target=True)


# %% Layers


class SubDistill(nn.Module):
    """Match the teacher's relevant subspace up to a rotation (Chormai et al., 2026).

    The loss is || R (s - running mean) - U^T (t - mu) ||^2, averaged over positions and samples
    and divided by the variance in the subspace, sum_i u_i^T S_a u_i. A student whose maps are
    constant has the loss 1.

    Parameters
    ----------
    pair : Pair
        Pair with a subspace, of at most as many dimensions as the student has channels.
    """

    needs_subspace = True

    def __init__(self, pair: Pair):
        super().__init__()
        subspace = pair.subspace
        if subspace is None:
            raise ValueError("SubDistill needs a subspace: Pair(m, d, make_subspace(...)).")
        if subspace.rank > pair.n_student:
            raise ValueError(
                f"A subspace of {subspace.rank} dimensions does not fit into {pair.n_student} "
                f"channels of the student: use subspace.truncate({pair.n_student})."
            )
        self.centring = Centring(pair.n_student)
        self.rotation = Rotation(pair.n_student, subspace.rank)
        self.register_buffer("mean", subspace.mean[:, None])
        self.register_buffer("basis", subspace.basis)
        self.register_buffer("kept", subspace.variance.sum())

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss, shape ()."""
        target = mix(self.basis.T, teacher - self.mean)
        error = self.rotation(self.centring(student)) - target
        return error.square().sum(dim=1).mean() / self.kept


class FitNet(nn.Module):
    """Predict the teacher's channels from the student's by an affine map (Romero et al., 2015)."""

    def __init__(self, pair: Pair):
        super().__init__()
        self.projector = Projector(pair.n_student, pair.n_teacher)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean squared error, shape ()."""
        return functional.mse_loss(self.projector(student), teacher)


class AttentionTransfer(nn.Module):
    """Match the energy at each position (Zagoruyko and Komodakis, 2017, eq. 2, squared)."""

    def __init__(self, pair: Pair):
        super().__init__()

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the squared distance of the normalized maps, shape ()."""
        found, true = (functional.normalize(x.square().sum(1), dim=1) for x in (student, teacher))
        return (found - true).square().sum(dim=1).mean()


class VID(nn.Module):
    """Bound the information shared with the teacher (Ahn et al., 2019, eq. 4 to 6).

    The teacher's channels are Gaussian. The student predicts their mean by three affine maps;
    each channel has a learned variance.
    """

    def __init__(self, pair: Pair):
        super().__init__()
        m, d = pair.n_student, pair.n_teacher
        self.projector = Projector(m, 2 * d, 2 * d, d)
        self.scale = nn.Parameter(torch.full((d, 1), 4.99))  # softplus: about 5

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean negative log-likelihood without constants, shape ()."""
        variance = functional.softplus(self.scale) + 1e-5
        error = (self.projector(student) - teacher).square()
        return 0.5 * (error / variance + variance.log()).mean()


class VkD(nn.Module):
    """Match the standardized teacher by an orthogonal projection (Miles et al., 2024)."""

    def __init__(self, pair: Pair):
        super().__init__()
        self.rotation = Rotation(pair.n_student, pair.n_teacher)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean squared error, shape ()."""
        target = functional.batch_norm(teacher, None, None, training=True)
        return functional.mse_loss(self.rotation(student), target)


class SPKD(nn.Module):
    """Match which samples of a batch are alike (Tung and Mori, 2019, eq. 1 to 3)."""

    def __init__(self, pair: Pair):
        super().__init__()

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean squared difference of the normalized Gram matrices, times the batch."""
        found, true = (
            functional.normalize(x.flatten(1) @ x.flatten(1).T, dim=1) for x in (student, teacher)
        )
        return (found - true).square().sum(dim=1).mean()


class CRD(nn.Module):
    """Tell the same sample from the others of the batch (Tian et al., 2020).

    The negatives are the rest of the batch, as in later contrastive work, not a memory bank.
    """

    def __init__(self, pair: Pair, n_features: int = 128, temperature: float = 0.07):
        super().__init__()
        self.student = nn.Linear(pair.n_student, n_features)
        self.teacher = nn.Linear(pair.n_teacher, n_features)
        self.temperature = temperature

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the cross-entropy of finding the same sample, in both directions, shape ()."""
        one = functional.normalize(self.student(student.mean(dim=2)), dim=1)
        other = functional.normalize(self.teacher(teacher.mean(dim=2)), dim=1)
        logits = one @ other.T / self.temperature
        same = torch.arange(len(logits), device=logits.device)
        return (
            functional.cross_entropy(logits, same) + functional.cross_entropy(logits.T, same)
        ) / 2


LayerLoss = Callable[[Pair], nn.Module]

OBJECTIVES: dict[str, LayerLoss | None] = {
    "subdistill": SubDistill,
    "kd": None,
    "fitnet": FitNet,
    "at": AttentionTransfer,
    "vid": VID,
    "vkd": VkD,
    "spkd": SPKD,
    "crd": CRD,
}
"""Layer losses by name. Each is added to the loss of the output; "kd" has that loss only."""


def find_objective(objective: str | LayerLoss | None) -> LayerLoss | None:
    """Return the layer loss of a name; a function is returned as it is."""
    if not isinstance(objective, str):
        return objective
    if objective not in OBJECTIVES:
        raise ValueError(f"There is no objective {objective!r}: pass one of {list(OBJECTIVES)}.")
    return OBJECTIVES[objective]


# %% Both


@fill_doc
class Objective(nn.Module):
    """Loss of the output plus `weight` times the sum of the layers' losses, in single precision.

    Parameters
    ----------
    pairs : dict of Pair
        Pairs of layers by the name of the teacher's layer.
    layer_loss : str | callable | None
        Name in :data:`subdistill.objectives.OBJECTIVES`, or a function of a
        :class:`subdistill.Pair` that returns a module. None for the loss of the output only.
    weight : float
        Weight lambda of the layers' losses.
    %(output_loss)s

    Examples
    --------
    >>> import torch
    >>> from subdistill import Objective, Pair
    >>> objective = Objective({"conv": Pair(4, 8)}, "at", weight=2.0)
    >>> maps = {"conv": (torch.rand(2, 4, 3, 3), torch.rand(2, 8, 6, 6))}
    >>> list(objective(torch.rand(2, 5), torch.rand(2, 5), maps))
    ['loss', 'output', 'layers/conv']
    """

    def __init__(
        self,
        pairs: Mapping[str, Pair],
        layer_loss: str | LayerLoss | None = "subdistill",
        *,
        weight: float = 10.0,
        output_loss: Callable[[Tensor, Tensor], Tensor] = kd_loss,
    ):
        super().__init__()
        make = find_objective(layer_loss)
        self.names = list(pairs) if make else []
        self.layers = nn.ModuleList(make(pairs[name]) for name in self.names)
        self.weight, self.output_loss = weight, output_loss

    def forward(
        self, output: Tensor, wanted: Tensor, maps: Mapping[str, tuple[Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        """Compute all losses of a step.

        Parameters
        ----------
        output, wanted : Tensor, shape (batch, ...)
            Outputs of student and teacher.
        maps : dict of (Tensor, Tensor), shape (batch, channels, *space)
            Maps of student and teacher of each pair.

        Returns
        -------
        losses : dict of Tensor, shape ()
            The total ``loss``, its part ``output``, and ``layers/<name>`` for each pair.
        """
        with torch.autocast(output.device.type, enabled=False):
            named = zip(self.names, self.layers, strict=True)
            hints = {f"layers/{name}": layer(*align(*maps[name])) for name, layer in named}
            first = self.output_loss(output.float(), wanted.float())
            return {"loss": first + self.weight * sum(hints.values()), "output": first, **hints}
