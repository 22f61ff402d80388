"""The small data sets that scikit-learn brings along."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nagviz.experiment.samples import Samples, Task, Whole


class _Table(NamedTuple):
    loader: str  # in sklearn.datasets
    task: Task
    outputs: int
    source: str


_TABLES = {
    "breast_cancer": _Table(
        "load_breast_cancer",
        "classification",
        2,
        "Wolberg, Mangasarian, Street and Street (1993), Breast cancer Wisconsin (diagnostic), UCI Machine Learning "
        "Repository, CC BY 4.0; by scikit-learn",
    ),
    "wine": _Table(
        "load_wine",
        "classification",
        3,
        "Aeberhard and Forina (1992), Wine, UCI Machine Learning Repository, CC BY 4.0; by scikit-learn",
    ),
    "diabetes": _Table(
        "load_diabetes",
        "regression",
        1,
        "Efron, Hastie, Johnstone and Tibshirani (2004), Least angle regression, no licence stated; by scikit-learn "
        "(BSD-3-Clause)",
    ),
}


def table(name: str) -> Whole:
    """A table of measurements: breast_cancer (569 x 30), wine (178 x 13) or diabetes (442 x 10).

    Inputs, and the numbers to predict, are to be standardised by the training part.

    Example:
        >>> whole = table("wine")
        >>> whole.train.inputs.shape, whole.outputs, whole.task
        ((178, 13), 3, 'classification')
    """
    import sklearn.datasets

    known = _TABLES[name]
    inputs, targets = getattr(sklearn.datasets, known.loader)(return_X_y=True)
    targets = targets.astype(np.float32)[:, None] if known.task == "regression" else targets.astype(np.int32)
    samples = Samples(inputs.astype(np.float32), targets)
    return Whole(samples, None, known.outputs, known.task, known.source, standardise=True)


def digits() -> Whole:
    """1,797 scanned digits of 8x8 pixels, in [0, 1].

    Example:
        >>> whole = digits()
        >>> print(whole.train.inputs.shape, whole.train.inputs.max(), whole.outputs)
        (1797, 8, 8, 1) 1.0 10

    Source: Alpaydin and Kaynak (1998), UCI Machine Learning Repository, CC BY 4.0; by scikit-learn.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    samples = Samples((images / 16).astype(np.float32).reshape(-1, 8, 8, 1), labels.astype(np.int32))
    source = "UCI optical recognition of handwritten digits (CC BY 4.0), by scikit-learn"
    return Whole(samples, None, 10, "classification", source)


def breast_cancer() -> Samples:
    """569 tumours of 30 measured features, standardised, with a constant column for the bias.

    Returns:
        Inputs of 31 features and targets 0 (malignant) and 1 (benign); the inputs are float64.

    Example:
        >>> samples = breast_cancer()
        >>> print(samples.inputs.shape, samples.targets.sum(), samples.inputs[:, :30].std(0).round(6).max())
        (569, 31) 357 1.0

    Source: Wolberg, Street, Mangasarian (1993), UCI Machine Learning Repository, CC BY 4.0; by scikit-learn.
    """
    from sklearn.datasets import load_breast_cancer

    inputs, labels = load_breast_cancer(return_X_y=True)
    standardised = (inputs - inputs.mean(0)) / inputs.std(0)
    return Samples(np.column_stack([standardised, np.ones(len(inputs))]), labels.astype(np.int32))
