"""The coefficients of the look-ahead: numbers, or functions of the age."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import numpy as np

# A number (or a tracer that stands for one), or a function of the age: an integer array, 0 at the first call.

Coefficient = float | jax.typing.ArrayLike | Callable[[jax.Array], jax.typing.ArrayLike]


def at(name: str, coefficient: Coefficient) -> Callable[[jax.Array], jax.typing.ArrayLike]:
    """The coefficient as a function of the age.

    Raises:
        ValueError: it is a static number and not finite; a tracer is let through.
    """
    if callable(coefficient):
        return coefficient
    require(name, coefficient, math.isfinite, "a finite number")
    return lambda age: coefficient


def require(name: str, value: object, holds: Callable[[float], bool], remedy: str) -> None:
    """Refuse a number known now for which `holds` is false; let tracers, arrays and functions through."""
    if isinstance(value, int | float | np.number) and not holds(float(value)):
        raise ValueError(f"{name} must be {remedy}, got {value}")
