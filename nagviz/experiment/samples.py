"""Samples, and how they are cut into what is trained on, chosen on and tested on."""

from __future__ import annotations

import hashlib
import math
from typing import Literal, NamedTuple

import numpy as np

Task = Literal["classification", "regression", "reconstruction", "characters"]


class Samples(NamedTuple):
    """Inputs and what belongs to them; the leading axis is the samples'."""

    inputs: np.ndarray  # float32, images as (samples, height, width, channels) in [0, 1]; tokens int32
    targets: np.ndarray  # classes (samples,) int32, numbers (samples, outputs) float32, the inputs, or the next tokens


class Dataset(NamedTuple):
    """Disjoint samples to train on, to choose by and to test on."""

    train: Samples
    validation: Samples | None  # where a share was asked for
    test: Samples
    outputs: int  # classes, or numbers predicted
    task: Task
    source: str  # whence, and under which licence


class Whole(NamedTuple):
    """A data set as it is published, before it is cut."""

    train: Samples
    test: Samples | None  # the original test set, where there is one
    outputs: int
    task: Task
    source: str
    standardise: bool = False  # inputs, and numbers to predict, by the mean and spread of the training part


class Cut(NamedTuple):
    """What of a data set is used for what."""

    test_fraction: float | None = None  # of all, where there is no original test set
    validation_fraction: float = 0.0  # of what the test leaves
    limit: int | None = None  # at most so many samples, of the training and of an original test set each
    reconstruct: bool = False  # whether the inputs are to be predicted


def divide(whole: Whole, cut: Cut, seed: int) -> Dataset:
    """Cut a data set, every class in proportion in every part.

    The test part is the original one, or else drawn by the seed; validation is drawn from the rest. Characters
    are cut in the order of the text instead, its end being tested on, so that no part looks into another.

    Args:
        whole: the data set.
        cut: what is asked for.
        seed: of every draw.

    Raises:
        ValueError: there is a test set and a fraction, or neither; or a part would lack a class, or be empty.

    Example:
        >>> toy = Samples(np.zeros((40, 2), np.float32), np.arange(40, dtype=np.int32) % 2)
        >>> made = divide(Whole(toy, None, 2, "classification", "a toy"), Cut(0.25, 0.2), seed=0)
        >>> [len(part.targets) for part in (made.train, made.validation, made.test)], made.outputs
        ([24, 6, 10], 2)
    """
    _require_one_test_set(whole, cut)
    classes = whole.task == "classification"
    rest, test, validation = _limited(whole.train, cut.limit, seed, classes), whole.test, None
    part = _parted_in_order if whole.task == "characters" else _parted_by_draw
    if test is None:
        rest, test = part(rest, cut.test_fraction, "test_fraction", seed, classes)
    else:
        test = _limited(test, cut.limit, seed, classes)
    if cut.validation_fraction:
        rest, validation = part(rest, cut.validation_fraction, "validation_fraction", seed, classes)
    made = Dataset(rest, validation, test, whole.outputs, whole.task, whole.source)
    made = _standardised(made) if whole.standardise else made
    return _reconstruction(made) if cut.reconstruct else made


def require_finite(whole: Whole) -> None:
    """Refuse numbers that are none: a loss of theirs is NaN from the first step on, whatever the optimizer does.

    Raises:
        ValueError: it names the source, the array, how many there are and where the first one is.

    Example:
        >>> odd = Samples(np.array([[0, 1], [2, np.nan]], np.float32), np.zeros(2, np.int32))
        >>> require_finite(Whole(odd, None, 1, "classification", "a toy"))
        Traceback (most recent call last):
        ...
        ValueError: a toy: train inputs hold 1 NaN and 0 infinite of 4 numbers, the first at [1, 1]; mend ...
    """
    for part in ("train", "test"):
        for name, array in zip(Samples._fields, getattr(whole, part) or (), strict=False):
            if array.dtype.kind == "f" and not (finite := np.isfinite(array)).all():
                nan, first = int(np.isnan(array).sum()), np.unravel_index(finite.argmin(), array.shape)
                raise ValueError(
                    f"{whole.source}: {part} {name} hold {nan:,} NaN and {(~finite).sum() - nan:,} infinite of "
                    f"{array.size:,} numbers, the first at {[int(i) for i in first]}; mend or leave out those samples"
                )


def digest(dataset: Dataset) -> str:
    """The SHA-256 of all arrays of a data set, with their names, types and shapes.

    Example:
        >>> toy = Samples(np.zeros((2, 1), np.float32), np.arange(2, dtype=np.int32))
        >>> digest(Dataset(toy, None, toy, 2, "classification", "a toy"))[:16]
        'a6cfc16447494a0f'
    """
    sha = hashlib.sha256()
    for name in ("train", "validation", "test"):
        for field, array in zip(Samples._fields, getattr(dataset, name) or (), strict=False):
            sha.update(f"{name}.{field} {array.dtype.str} {array.shape}\n".encode())
            sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def _require_one_test_set(whole: Whole, cut: Cut) -> None:
    if whole.test is None and cut.test_fraction is None:
        raise ValueError("test_fraction: is missing, and the data have no test set of their own")
    if whole.test is not None and cut.test_fraction is not None:
        raise ValueError(
            f"test_fraction: is {cut.test_fraction}, but the data have a test set of their own; leave it out"
        )


def _limited(samples: Samples, limit: int | None, seed: int, classes: bool) -> Samples:
    """The first samples of a seeded shuffle that deals the classes out in turn, in their own order again."""
    if limit is None or limit >= len(samples.targets):
        return samples
    order = np.random.default_rng(seed).permutation(len(samples.targets))
    if classes:
        order = order[np.argsort(_turns(samples.targets[order]), kind="stable")]
    return _rows(samples, np.sort(order[:limit]))


def _turns(labels: np.ndarray) -> np.ndarray:
    """At which share of its class each sample stands."""
    turns = np.empty(len(labels))
    for label in np.unique(labels):
        (own,) = np.nonzero(labels == label)
        turns[own] = (np.arange(len(own)) + 0.5) / len(own)
    return turns


def _rows(samples: Samples, rows) -> Samples:
    return Samples(samples.inputs[rows], samples.targets[rows])


def _parted_by_draw(samples: Samples, fraction: float, name: str, seed: int, classes: bool) -> tuple[Samples, Samples]:
    from sklearn.model_selection import train_test_split

    count = len(samples.targets)
    try:
        rows = train_test_split(
            np.arange(count), test_size=fraction, random_state=seed, stratify=samples.targets if classes else None
        )
    except ValueError as error:
        raise ValueError(f"{name}: {fraction} of {count} samples leaves no fair parts: {error}") from None
    return _rows(samples, rows[0]), _rows(samples, rows[1])


def _parted_in_order(samples: Samples, fraction: float, name: str, seed: int, classes: bool) -> tuple[Samples, Samples]:
    del seed, classes  # a text has an order, and no classes
    count = len(samples.targets)
    kept = count - math.ceil(fraction * count)
    if kept < 1:
        raise ValueError(f"{name}: {fraction} of {count} samples leaves none to train on")
    return _rows(samples, slice(kept)), _rows(samples, slice(kept, None))


def _standardised(dataset: Dataset) -> Dataset:
    """Mean 0 and spread 1 over the training part; a column that never changes there is only centred."""

    def ruler(column):
        spread = column.std(0, dtype=np.float64)
        return column.mean(0, dtype=np.float64), np.where(spread > 0, spread, 1.0)

    rulers = [ruler(dataset.train.inputs), ruler(dataset.train.targets) if dataset.task == "regression" else None]

    def scaled(samples):
        pairs = zip(samples, rulers, strict=True)
        return Samples(*(a if r is None else ((a - r[0]) / r[1]).astype(np.float32) for a, r in pairs))

    parts = {name: scaled(part) for name, part in dataset._asdict().items() if isinstance(part, Samples)}
    return dataset._replace(**parts)


def _reconstruction(dataset: Dataset) -> Dataset:
    parts = {n: Samples(p.inputs, p.inputs) for n, p in dataset._asdict().items() if isinstance(p, Samples)}
    return dataset._replace(**parts, outputs=math.prod(dataset.train.inputs.shape[1:]), task="reconstruction")
