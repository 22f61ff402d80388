"""Data sets, decoded, split and ready for a device."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import jax
import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import train_test_split


class Samples(NamedTuple):
    """Inputs and what they are."""

    inputs: np.ndarray  # (samples, features), float32
    targets: np.ndarray  # (samples,), int32


class Dataset(NamedTuple):
    """Disjoint training, validation and test samples."""

    train: Samples
    validation: Samples | None  # None unless a share was asked for
    test: Samples
    outputs: int  # classes, or numbers predicted
    task: str  # a key of `models.LOSSES`
    source: str  # whence, and under which licence


def digest(dataset: Dataset) -> str:
    """The SHA-256 of the arrays."""
    total = hashlib.sha256()
    for leaf in jax.tree.leaves((dataset.train, dataset.validation, dataset.test)):
        total.update(f"{leaf.dtype.str}{leaf.shape}".encode())
        total.update(np.ascontiguousarray(leaf))
    return total.hexdigest()


def digits(test_fraction: float, seed: int, validation_fraction: float = 0.0) -> Dataset:
    """1,797 scanned digits of 8x8 pixels, scaled to [0, 1], split with every class in proportion.

    Args:
        test_fraction: the share of samples held back, in (0, 1).
        seed: of the split.
        validation_fraction: the share of all samples set apart from the training ones, to choose by.

    Returns:
        Data with 64 features and 10 classes.

    Example:
        >>> data = digits(test_fraction=0.25, seed=0)
        >>> print(data.train.inputs.shape, data.test.inputs.shape, data.train.inputs.max())
        (1347, 64) (450, 64) 1.0

    Source: Alpaydin and Kaynak (1998), UCI Machine Learning Repository, CC BY 4.0; by scikit-learn.
    """
    inputs, labels = load_digits(return_X_y=True)
    inputs = (inputs / 16).astype(np.float32)
    parts = train_test_split(
        inputs, labels.astype(np.int32), test_size=test_fraction, random_state=seed, stratify=labels
    )
    train_inputs, test_inputs, train_labels, test_labels = parts
    train, validation = Samples(train_inputs, train_labels), None
    if validation_fraction:
        share = validation_fraction / (1 - test_fraction)
        a, b, c, d = train_test_split(*train, test_size=share, random_state=seed, stratify=train.targets)
        train, validation = Samples(a, c), Samples(b, d)
    return Dataset(
        train,
        validation,
        Samples(test_inputs, test_labels),
        outputs=10,
        task="classification",
        source="UCI optical recognition of handwritten digits (CC BY 4.0), by scikit-learn",
    )


def breast_cancer() -> Samples:
    """569 tumours of 30 measured features, standardised, with a constant column for the bias.

    Returns:
        Inputs of 31 features and labels 0 (malignant) and 1 (benign); the inputs are float64.

    Example:
        >>> samples = breast_cancer()
        >>> print(samples.inputs.shape, samples.labels.sum(), samples.inputs[:, :30].std(0).round(6).max())
        (569, 31) 357 1.0

    Source: Wolberg, Street, Mangasarian (1993), UCI Machine Learning Repository, CC BY 4.0; by scikit-learn.
    """
    inputs, labels = load_breast_cancer(return_X_y=True)
    standardised = (inputs - inputs.mean(0)) / inputs.std(0)
    return Samples(np.column_stack([standardised, np.ones(len(inputs))]), labels.astype(np.int32))
