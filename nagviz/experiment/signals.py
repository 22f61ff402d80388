"""MNIST-1D: digits as short signals, made by drawing.

Each of ten templates of 12 points is padded by a random length of zeros, stretched to 72 points, scaled, shifted
round, laid over smooth noise where it is zero, given white noise, sheared, and sampled at 40 points.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nagviz.experiment.samples import Samples, Whole

# The published curves, one a digit; their offset and scale are taken out below.
_CURVES = np.array(
    [
        [5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5],
        [5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5],
        [5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5],
        [5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5],
        [5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5],
        [5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5],
        [5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5],
        [5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5],
        [5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5],
        [5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5],
    ]
)
_LONG, _SHORT = 72, 40  # points of a signal while it is made, and in the end


class _Draws(NamedTuple):
    """What chance says of the signals."""

    padding: np.ndarray  # (signals,) zeros appended, 36 to 60
    scale: np.ndarray  # (signals,) 0.8 to 1.2
    shift: np.ndarray  # (signals,) points, 0 to 47
    smooth: np.ndarray  # (signals, 72) noise, to be smoothed
    white: np.ndarray  # (signals, 72) noise
    shear: np.ndarray  # (signals,)
    order: np.ndarray  # (signals,) in which they are handed out


def mnist1d(samples: int = 5000, seed: int = 42) -> Whole:
    """Signals of 40 points in ten classes, standardised as a whole; the last fifth is the test set.

    With the defaults these are the numbers of the published set, to the rounding of float32.

    Args:
        samples: how many, a multiple of 10.
        seed: of the draws.

    Raises:
        ValueError: the samples cannot be shared out among the classes.

    Example:
        >>> whole = mnist1d()
        >>> whole.train.inputs.shape, whole.test.inputs.shape, whole.test.targets[:8].tolist()
        ((4000, 40), (1000, 40), [...])

    Source: Greydanus, Scaling down deep learning (2020), arXiv:2011.14439; templates and constants Apache-2.0.
    """
    if samples < 50 or samples % 10:
        raise ValueError(f"samples: must be a multiple of 10, at least 50, got {samples}")
    drawn = _draws(samples, seed)
    labels = np.repeat(np.arange(10, dtype=np.int32), samples // 10)
    signals = _signals(drawn, labels)[drawn.order]
    signals = ((signals - signals.mean()) / signals.std()).astype(np.float32)
    made, kept = Samples(signals, labels[drawn.order]), samples * 4 // 5
    source = f"Greydanus (2020), MNIST-1D, arXiv:2011.14439, Apache-2.0; generated here, seed {seed}"
    parts = (Samples(made.inputs[part], made.targets[part]) for part in (slice(kept), slice(kept, None)))
    return Whole(*parts, 10, "classification", source)


def _draws(count: int, seed: int) -> _Draws:
    """In the order of the published generator, signal by signal, from the stream that NumPy keeps frozen."""
    chance = np.random.RandomState(seed)
    rows = []
    for _ in range(count):
        padding, scale = 36 + int(chance.rand() * 25), 1 + 0.4 * (chance.rand() - 0.5)
        rows.append((padding, scale, chance.choice(48), chance.randn(_LONG), chance.randn(_LONG), chance.rand()))
    return _Draws(*(np.array(column) for column in zip(*rows, strict=True)), chance.permutation(count))


def _signals(drawn: _Draws, labels: np.ndarray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d

    stretched = np.stack([_stretched(_templates()[c], p) for c, p in zip(labels, drawn.padding, strict=True)])
    places = (np.arange(_LONG) - drawn.shift[:, None]) % _LONG
    signals = np.take_along_axis(stretched * drawn.scale[:, None], places, axis=1)
    smooth = gaussian_filter1d(0.25 * drawn.smooth, 2, axis=1)
    signals = np.where(signals != 0, signals, smooth) + 0.02 * drawn.white
    signals -= 0.75 * (drawn.shear[:, None] - 0.5) * np.linspace(-0.5, 0.5, _LONG)
    return np.stack([_resampled(signal, _SHORT) for signal in signals])


def _templates() -> np.ndarray:
    """(10, 12): each with spread 1/6, from 0."""
    curves = _CURVES / _CURVES.std(1, keepdims=True)
    return (curves - curves[:, :1]) / 6


def _stretched(template: np.ndarray, padding: int) -> np.ndarray:
    # The small number tells a template's own zeros from the padding, which alone is laid over noise.
    return _resampled(np.concatenate([template + 1e-8, np.zeros(padding)]), _LONG)


def _resampled(signal: np.ndarray, points: int) -> np.ndarray:
    return np.interp(np.linspace(0, 1, points), np.linspace(0, 1, len(signal)), signal)
