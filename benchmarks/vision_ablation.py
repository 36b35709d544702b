"""SubDistill without one of the choices of its paper, for vision.py."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from subdistill.objectives import Pair, SubDistill


class NotCentred(SubDistill):
    """Neither the student's channels nor the teacher's lose their mean."""

    def __init__(self, pair: Pair):
        super().__init__(pair)
        self.centring = nn.Identity()
        self.mean.zero_()


class NotRotated(SubDistill):
    """The first channels of the student are the coordinates of the subspace."""

    def __init__(self, pair: Pair):
        super().__init__(pair)
        self.rotation = First(pair.subspace.rank)


class NotNormalized(SubDistill):
    """The loss is not divided by the variance kept, so that layers count by their variance."""

    def __init__(self, pair: Pair):
        super().__init__(pair)
        self.kept = torch.ones(())


class First(nn.Module):
    """The first channels."""

    def __init__(self, n_channels: int):
        super().__init__()
        self.n_channels = n_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return them."""
        return x[:, : self.n_channels]
