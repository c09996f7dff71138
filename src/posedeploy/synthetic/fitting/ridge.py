"""Ridge regression, accumulated over batches and solved in closed form.

Hoerl and Kennard, "Ridge Regression: Biased Estimation for Nonorthogonal Problems" (1970).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Solution:
    """A linear layer, and what it puts out on the rows it was solved for.

    Attributes:
        weight: [T, F] float32.
        bias: [T] float32.
        mean: [T] float32, weighted mean of `features @ weight.T`, without the bias.
        variance: [T] float32, of the same.
        explained: [T] float64, part of the targets' variance that is explained, at most 1.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    mean: torch.Tensor
    variance: torch.Tensor
    explained: torch.Tensor


class Ridge:
    """Sums that decide a weighted ridge regression; memory does not grow with the rows."""

    def __init__(self, features: int, targets: int) -> None:
        size = features + 1
        self._gram = torch.zeros(size, size, dtype=torch.float64)
        self._moment = torch.zeros(size, targets, dtype=torch.float64)
        self._power = torch.zeros(targets, dtype=torch.float64)

    def add(self, features: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> None:
        """Take rows in.

        Args:
            features: [n, F] float32.
            targets: [n, T] float32.
            weights: [n] float32; how much a row counts.
        """
        rows = torch.cat([features, features.new_ones(len(features), 1)], dim=1)
        weighted = rows * weights[:, None]
        self._gram += (weighted.T @ rows).double()
        self._moment += (weighted.T @ targets).double()
        self._power += (targets.square() * weights[:, None]).sum(dim=0).double()

    def solve(self, damping: float) -> Solution:
        """The regression.

        The penalty is the same for every feature, whatever its power: weights that are much
        larger than the others, on features that hardly vary, would take all the steps that int8
        has for a channel's weights.

        Args:
            damping: Penalty on squared weights, in units of the features' mean power.
        """
        gram, count = self._gram, self._gram[-1, -1]
        power = gram.diagonal()[:-1].mean()
        penalty = torch.full_like(gram.diagonal(), float(power) * damping)
        penalty[-1] = 0.0
        factor = torch.linalg.cholesky(gram + torch.diag(penalty))
        solved = torch.cholesky_solve(self._moment, factor)
        weight, bias = solved[:-1].T, solved[-1]
        mean = weight @ gram[:-1, -1] / count
        variance = ((weight @ gram[:-1, :-1]) * weight).sum(dim=1) / count - mean.square()
        error = self._power + (solved * (gram @ solved - 2 * self._moment)).sum(dim=0)
        total = self._power - self._moment[-1].square() / count
        return Solution(
            weight.float(),
            bias.float(),
            mean.float(),
            variance.clamp(min=1e-8).float(),
            1 - error / total.clamp(min=1e-12),
        )
