"""Where the bands of a contour plot begin and end: losses in, increasing round numbers out.

A loss falls by factors, so its levels are geometric in the height above the lowest value seen: the
valley gets as many bands as the walls. They stop at a clip, or the corners would rule them all.

>>> import numpy as np
>>> x = np.linspace(-1, 1, 51)
>>> loss_levels(x**2 + 10 * x[:, None] ** 2, bands=10)
array([ 0.  ,  0.04,  0.08,  0.15,  0.25,  0.5 ,  1.  ,  1.5 ,  3.  ,  5.  , 10.  ])
"""

from collections.abc import Sequence

import numpy as np

PLAIN = 1e-4  # the least number that is written without a power of ten
LOWEST = 0.01  # the share of points that may lie under the first level above the minimum
HIGHEST = 0.95  # the share of points that lie under the clip
EVEN = 0.98  # the share of points under the last of equal levels
STARTS = 10.0  # the clip, in heights of the start above the minimum
DEEPEST = 1e-5  # of the clip's height: below this float32 shows its rounding
SHALLOWEST = 0.1  # of the clip's height: so that one deep hole leaves bands for the rest
GIVE = 0.25  # how far a level may move to a rounder number, in bands


def loss_levels(values: np.ndarray, *, start: float | None = None, bands: int = 12) -> np.ndarray:
    """Edges of `bands` bands, geometric in L - L_min and rounded, from L_min to the clip.

    The clip is the 95th percentile of the finite values or, when smaller, ten times as high
    above L_min as `start`, the loss where the path begins; a start at L_min says nothing. Every
    edge but the first then moves, by at most a quarter of a band, to the roundest number near.

    Args:
        values: losses of any sign and shape; NaN and infinities are left out.
        start: the loss at the start of the path.
        bands: how many bands; 10 to 14 read best.

    Returns:
        bands + 1 increasing float64 numbers (fewer where float64 holds no more in between). For a
        constant slice, they run from that constant up by its own magnitude.

    Raises:
        ValueError: if no value is finite, `start` is not finite, or `bands` is not positive.
    """
    if bands < 1:
        raise ValueError(f"bands is {bands}: ask for at least 1, best 10 to 14")
    if start is not None and not np.isfinite(start):
        raise ValueError(f"start is {start}: give the finite loss at the start, or None")
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if finite.size == 0:
        raise ValueError(f"values has {np.size(values)} numbers and none is finite: narrow the slice's range")
    low = finite.min()
    deep, high = _heights(finite - low, None if start is None else start - low)
    high = high or abs(low) or 1.0
    heights = high * np.geomspace(1.0, deep, bands)[::-1]
    give = deep ** (-GIVE / max(bands - 1, 9))
    pairs = zip(low + heights / give, low + heights * give, strict=True)
    return np.unique([low, *(roundest(below, above) for below, above in pairs)])


def even_levels(values: np.ndarray, *, bands: int = 12) -> np.ndarray:
    """Round edges of about `bands` bands at equal distances, from the lowest value to the 98th percentile.

    On a small piece of a landscape the slope is what counts, and equal distances show it. Where most of the piece
    would be one band, or float64 holds no equal steps, the edges are those of `loss_levels`.

    >>> even_levels(np.linspace(0.2, 1.9, 50), bands=8)
    array([0.2, 0.4, 0.6, 0.8, 1. , 1.2, 1.4, 1.6, 1.8, 2. ])

    Args:
        values: losses of any sign and shape; NaN and infinities are left out.
        bands: about how many.

    Raises:
        ValueError: no value is finite.
    """
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if finite.size:
        low, middle, high = np.quantile(finite, [0, 0.5, EVEN])
        step = roundest(0.8 * (high - low) / bands, 1.25 * (high - low) / bands)
        if step > 1e-12 * max(abs(low), abs(high)) and middle - low > step:
            return step * np.arange(np.floor(low / step), np.ceil(high / step) + 1)
    return loss_levels(values, bands=bands)


def _heights(heights: np.ndarray, start: float | None) -> tuple[float, float]:
    """The first level over the clip, and the clip, both as heights above the minimum."""
    high = np.quantile(heights, HIGHEST) or heights.max()
    if start is not None and start > 0:
        high = min(high, STARTS * start)
    above = heights[heights > 0]
    deep = np.quantile(above, LOWEST) / high if above.size else SHALLOWEST
    return float(np.clip(deep, DEEPEST, SHALLOWEST)), float(high)


def roundest(low: float, high: float) -> float:
    """The number of fewest digits in [low, high]: a multiple of the largest 1, 2 or 5 times 10^n.

    >>> roundest(0.0493, 0.0612), roundest(270.0, 330.0), roundest(-1.0, 1.0)
    (0.05, 300.0, 0.0)
    """
    if low <= 0 <= high:
        return 0.0
    power = int(np.floor(np.log10(max(abs(low), abs(high)))))
    for exponent in range(power, power - 17, -1):
        for digit in (5, 2, 1):
            step = float(f"{digit}e{exponent}")
            multiple = round((low + high) / 2 / step)
            number = float(f"{multiple * digit}e{exponent}")
            if low <= number <= high:
                return number
    return low + (high - low) / 2


def round_ticks(levels: Sequence[float] | np.ndarray, count: int = 5) -> np.ndarray:
    """About `count` round numbers, spread evenly over the bands between the levels.

    Edges that are round already are preferred, so that ticks, lines and bands agree.

    >>> round_ticks([0.0497, 0.06, 0.08, 0.12, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0], 4)
    array([0.06, 0.2 , 0.5 , 2.  ])
    """
    edges = np.asarray(levels, dtype=np.float64)
    centres = np.linspace(min(1, edges.size - 1), edges.size - 1, count)
    reach = min(0.5, (edges.size - 1) / (2 * count))
    index = np.arange(edges.size)
    windows = zip(
        np.interp(centres - reach, index, edges),
        np.interp(centres + reach, index, edges),
        strict=True,
    )
    return np.unique([_tick(low, high, edges) for low, high in windows])


def _tick(low: float, high: float, edges: np.ndarray) -> float:
    best = roundest(low, high)
    near = [edge for edge in edges if low <= edge <= high and _digits(edge) <= _digits(best) + 1]
    return min(near, key=_digits, default=best)


def _digits(number: float) -> int:
    return len(f"{abs(number):.12e}".split("e")[0].rstrip("0"))


def tick_text(value: float, position: int | None = None) -> str:
    """A tick's label: plain from 0.0001 to 9,999, and a power of ten elsewhere.

    >>> [tick_text(value) for value in (0.0, 0.05, 2000.0, 3e4, -1e-30)]
    ['0', '0.05', '2000', '$3{\\\\times}10^{4}$', '$-10^{-30}$']
    """
    del position  # matplotlib's formatters pass it
    if value == 0 or PLAIN <= abs(value) < 1e4:
        return np.format_float_positional(float(f"{value:.12g}"), trim="-").replace("-", "\u2212")
    return power_text(value)


def power_text(value: float) -> str:
    """A tick's label as a power of ten, whatever the number.

    >>> power_text(0.002), power_text(0)
    ('$2{\\\\times}10^{-3}$', '0')
    """
    if value == 0:
        return "0"
    digits, exponent = f"{value:.12e}".split("e")
    digits = digits.rstrip("0").rstrip(".")
    factor = {"1": "", "-1": "-"}.get(digits, rf"{digits}{{\times}}")
    return f"${factor}10^{{{int(exponent)}}}$"
