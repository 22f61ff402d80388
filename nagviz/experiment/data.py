"""Data sets by name, decoded, cut into parts and ready for a device.

    table of the config -> Whole (as it is published) -> Dataset (train, validation, test)

Where a set is looked for is in `sources`, how its files are read in `readers`, how it is cut in `samples`.
"""

from __future__ import annotations

from collections.abc import Callable

from nagviz.experiment.images import averaged, cifar10, fashion_mnist, mnist, mnist_subset
from nagviz.experiment.libraries import hugging_face, npz_file, tensorflow_datasets
from nagviz.experiment.readers import read_cifar, read_idx, read_npz, read_table, read_text
from nagviz.experiment.report import Refusal
from nagviz.experiment.samples import Cut, Dataset, Samples, Whole, digest, divide, require_finite
from nagviz.experiment.signals import mnist1d
from nagviz.experiment.tabular import breast_cancer, digits, table
from nagviz.experiment.texts import pieces, python_manual, text_file

__all__ = [
    "Cut",
    "Dataset",
    "Samples",
    "Whole",
    "averaged",
    "breast_cancer",
    "cifar10",
    "digest",
    "digits",
    "divide",
    "fashion_mnist",
    "hugging_face",
    "made",
    "mnist",
    "mnist1d",
    "mnist_subset",
    "npz_file",
    "pieces",
    "python_manual",
    "read_cifar",
    "read_idx",
    "read_npz",
    "read_table",
    "read_text",
    "table",
    "tensorflow_datasets",
    "text_file",
]


def made(gather: Callable[[], Whole], cut: Cut, seed: int) -> Dataset:
    """A data set, gathered and cut.

    Raises:
        Refusal: it is not there, or wrong, or cannot be cut so; the text names the place and the remedy.
    """
    try:
        whole = gather()
        require_finite(whole)
        return divide(whole, cut, seed)
    except ImportError as error:
        raise Refusal(f"data: package {error.name} is not installed; pip install it, or name other data") from None
    except OSError as error:
        told = f"{error.filename}: {error.strerror}; name another file" if error.filename else error
        raise Refusal(f"data: {told}") from None
    except ValueError as error:
        raise Refusal(f"data: {error}") from None
