"""What a grid says between its points.

>>> from types import SimpleNamespace
>>> cut = SimpleNamespace(x=[0.0, 1.0], y=[0.0, 2.0])
>>> read(cut, np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([[0.5, 1.0], [0.5, 3.0]]))
array([1.5, nan])
"""

from typing import Any

import numpy as np


def read(cut: Any, field: np.ndarray, at: np.ndarray) -> np.ndarray:
    """A field between the points of its grid, linear along both axes; NaN outside, and beside a NaN.

    Args:
        cut: a slice, for its `x` and `y`.
        field: (rows, columns) or (rows, columns, parts), such as its values.
        at: (n, 2) coordinates.

    Returns:
        (n,) or (n, parts).
    """
    parts = field if field.ndim == 3 else field[..., None]
    (i, a), (j, b) = (_between(np.asarray(axis, np.float64), at[:, k]) for k, axis in ((1, cut.y), (0, cut.x)))
    low, high = (_mixed(parts[row, j], parts[row, j + 1], b) for row in (i, i + 1))
    inside = (a >= 0) & (a <= 1) & (b >= 0) & (b <= 1)
    found = np.where(inside, _mixed(low, high, a), np.nan)
    return found if field.ndim == 3 else found[:, 0]


def _mixed(one: np.ndarray, two: np.ndarray, share: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(share == 0, one, np.where(share == 1, two, one * (1 - share) + two * share))


def _between(axis: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The point of the grid before each place, and how far on it is to the next, (n, 1)."""
    before = np.clip(np.searchsorted(axis, at, side="right") - 1, 0, len(axis) - 2)
    return before, ((at - axis[before]) / (axis[before + 1] - axis[before]))[:, None]
