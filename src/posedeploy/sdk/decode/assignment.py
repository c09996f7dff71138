"""The assignment problem: shortest augmenting paths with potentials, after Kuhn and Munkres.

Where several assignments cost the same, the one that is returned depends on the order of rows and
columns, as in every implementation; MMPose takes that of the package munkres. This one begins as
that of munkres 3 does, with the first column where a row is cheapest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Costs = NDArray[np.float64]


def assign(costs: Costs) -> list[tuple[int, int]]:
    """The min(R, C) pairs (row, column), by row, of least total cost of finite `[R, C]` costs."""
    if costs.shape[0] > costs.shape[1]:
        return sorted((row, column) for column, row in assign(costs.T))
    rows, columns = costs.shape
    row_of = np.full(columns, -1)
    potential_of_row, potential_of_column = costs.min(axis=1, initial=np.inf), np.zeros(columns)
    left = []
    for row in range(rows):
        free = np.flatnonzero((row_of < 0) & (costs[row] == potential_of_row[row]))
        if free.size:
            row_of[free[0]] = row
        else:
            left.append(row)
    for row in left:
        _augment(row, costs, row_of, potential_of_row, potential_of_column)
    return sorted((int(row), column) for column, row in enumerate(row_of) if row >= 0)


def _augment(row: int, costs: Costs, row_of: NDArray[np.intp], u: Costs, v: Costs) -> None:
    """Match one more row, in place; `u` and `v` are the potentials of rows and columns."""
    columns = costs.shape[1]
    reach, before = np.full(columns, np.inf), np.full(columns, -1)
    done = np.zeros(columns, bool)
    here, column = row, -1
    while True:
        through = costs[here] - u[here] - v
        shorter = ~done & (through < reach)
        reach[shorter], before[shorter] = through[shorter], column
        column = int(np.where(done, np.inf, reach).argmin())
        delta = reach[column]
        u[[row, *row_of[done]]] += delta
        v[done] -= delta
        reach[~done] -= delta
        done[column] = True
        here = int(row_of[column])
        if here < 0:
            break
    while column >= 0:
        previous = int(before[column])
        row_of[column] = row if previous < 0 else row_of[previous]
        column = previous


def assigned(costs: Costs) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the pairs of `assign`, each `[min(R, C)]`."""
    rows, columns = np.array(assign(costs), np.intp).reshape(-1, 2).T
    return rows, columns
