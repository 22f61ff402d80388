"""Arrays of one's own: npz files, and what TensorFlow Datasets and Hugging Face's datasets have prepared.

The two libraries are imported only where they are named, and neither may reach for the network.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nagviz.experiment.readers import Parts, read_npz
from nagviz.experiment.samples import Samples, Task, Whole
from nagviz.experiment.sources import Place, find, places

_PAIRS = (("x_train", "y_train"), ("x", "y")), (("x_test", "y_test"),)  # names in a file, of either part


def npz_file(path: str, source: str | None = None) -> Whole:
    """Arrays `x` and `y`, or `x_train` and `y_train`, and where there are, `x_test` and `y_test`.

    Args:
        path: of a file by `numpy.savez`.
        source: whence it is, and under which licence, for the record.

    Raises:
        OSError: it cannot be read.
        ValueError: it is of another kind, or its arrays do not go together.
    """
    file = Path(path).expanduser()
    held = read_npz(file)
    pairs = [next((pair for pair in names if held.keys() >= set(pair)), None) for names in _PAIRS]
    used = {name for pair in pairs if pair for name in pair}
    if pairs[0] is None or held.keys() - used:
        names = ", ".join(held) or "nothing"
        raise ValueError(
            f"{path}: holds {names}; expected x and y, or x_train and y_train, and x_test and y_test with any"
        )
    parts = Parts(*(None if pair is None else Samples(held[pair[0]], held[pair[1]]) for pair in pairs))
    return whole(str(path), parts, source or f"{path}, licence not stated")


def tensorflow_datasets(name: str, path: str | None = None) -> Whole:
    """A data set that `tensorflow_datasets` has prepared on this machine.

    Args:
        name: its own, as "mnist".
        path: the folder of prepared data sets, or of this one; by default `$NAGVIZ_DATA`, then the library's own.
    """
    import tensorflow_datasets as tfds

    own = Path("~/tensorflow_datasets").expanduser()
    where = places(path, ["."], [Place("package tensorflow_datasets", own)])
    remedy = f"Let tfds.load({name!r}) prepare it once, which downloads it."
    folder, place = find(name, where, partial(_prepared, name), remedy)
    builder = tfds.builder_from_directory(str(folder))

    def part(split: str) -> Samples | None:
        if split not in builder.info.splits:
            return None
        read = builder.as_dataset(split=split, batch_size=-1, as_supervised=True, shuffle_files=False)
        return Samples(*map(np.asarray, tfds.as_numpy(read)))

    licence = getattr(builder.info.redistribution_info, "license", "")
    return whole(name, Parts(part("train"), part("test")), _credit(name, builder.info.homepage, licence, place))


def _prepared(name: str, folder: Path) -> Path:
    """The folder of one version of a data set."""
    if (folder / "dataset_info.json").is_file():
        return folder
    root = folder if folder.name == name else folder / name
    found = sorted(file.parent for file in root.rglob("dataset_info.json"))
    if not found:
        raise FileNotFoundError(f"{folder} has no prepared {name}")
    if len(found) > 1:
        raise ValueError(f"{root}: has several, {', '.join(map(str, found))}; give one of them as path")
    return found[0]


def hugging_face(name: str, inputs: str, targets: str, path: str | None = None) -> Whole:
    """A data set that Hugging Face's `datasets` has on this machine.

    Args:
        name: its own, as "ylecun/mnist".
        inputs: the column that is known.
        targets: the column to predict.
        path: a folder that `save_to_disk` wrote; by default the name in `$NAGVIZ_DATA`, then the library's own cache.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when the library is imported: it would ask the network otherwise
    import datasets

    if not datasets.config.HF_HUB_OFFLINE:
        raise ValueError("package datasets was imported to be online; set HF_HUB_OFFLINE=1 before that")
    cache = Place("package datasets", Path(datasets.config.HF_DATASETS_CACHE))
    remedy = f"Let datasets.load_dataset({name!r}) fetch it once, or save_to_disk and give that folder as path."
    held, place = find(name, places(path, [name], [cache]), partial(_saved, datasets, name), remedy)
    if not isinstance(held, dict):
        held = {"train": held}
    parts = Parts(*(_columns(name, held[split], inputs, targets) if split in held else None for split in Parts._fields))
    info = next(iter(held.values())).info
    return whole(name, parts, _credit(name, info.homepage, info.license, place))


def _saved(datasets: Any, name: str, folder: Path) -> Any:
    if folder != Path(datasets.config.HF_DATASETS_CACHE):
        return datasets.load_from_disk(str(folder))
    try:
        return datasets.load_dataset(name)
    except (ConnectionError, ValueError) as error:
        raise FileNotFoundError(f"{folder} has it not: {error}") from None


def _columns(name: str, split: Any, inputs: str, targets: str) -> Samples:
    missing = {inputs, targets} - set(split.column_names)
    if missing:
        raise ValueError(f"{name}: has no column {', '.join(sorted(missing))}; it has {', '.join(split.column_names)}")
    held = split.select_columns([inputs, targets]).with_format("numpy")[:]
    return Samples(np.asarray(held[inputs]), np.asarray(held[targets]))


def _credit(name: str, homepage: str | None, licence: str | None, place: str) -> str:
    return ", ".join(part for part in (name, homepage, licence or "licence not stated") if part) + f"; by {place}"


# What the arrays of others must be.


def whole(name: str, parts: Parts, source: str) -> Whole:
    """The data set that arrays make.

    Whole numbers as targets are classes 0 to k - 1, others are numbers to predict. Bytes of three or four dimensions
    are images, and brought to [0, 1] with a last axis for the colours; other inputs stay as they are, in float32.

    Args:
        name: for the errors.
        parts: the arrays.
        source: whence, and under which licence.

    Raises:
        ValueError: there is nothing to train on, the arrays do not go together, or are no numbers.

    Example:
        >>> made = whole("toy", Parts(Samples(np.ones((4, 2)), np.array([0, 1, 2, 1])), None), "a toy")
        >>> made.task, made.outputs, made.train.inputs.dtype
        ('classification', 3, dtype('float32'))
    """
    if parts.train is None:
        raise ValueError(f"{name}: has no part to train on")
    made = Parts(*(None if part is None else _plain(f"{name}, {kind}", part) for kind, part in parts._asdict().items()))
    first = made.train
    if made.test is not None and _form(made.test) != _form(first):
        raise ValueError(f"{name}: is tested on {_form(made.test)}; expected as in training, {_form(first)}")
    task: Task = "classification" if first.targets.dtype == np.int32 else "regression"
    outputs = _classes(name, made) if task == "classification" else first.targets.shape[1]
    return Whole(*made, outputs, task, source)


def _plain(place: str, samples: Samples) -> Samples:
    for array, what in zip(samples, Samples._fields, strict=True):
        if array.dtype.kind not in "buif" or not array.ndim or not array.size:
            raise ValueError(
                f"{place}: {what} are {array.dtype} of shape {array.shape}; expected numbers, samples first"
            )
    inputs, targets = samples
    if len(inputs) != len(targets):
        raise ValueError(f"{place}: has {len(inputs):,} inputs for {len(targets):,} targets; expected one for each")
    if inputs.dtype == np.uint8 and inputs.ndim in (3, 4):
        inputs = inputs.reshape(*inputs.shape[:3], -1).astype(np.float32) / 255
    targets = targets.reshape(len(targets), -1)
    if targets.dtype.kind == "f":
        return Samples(_single(place, inputs), _single(place, targets))
    if targets.shape[1] != 1 or targets.min() < 0 or targets.max() >= 2**31:
        raise ValueError(
            f"{place}: has whole numbers as targets that are no classes; expected one of 0, 1, ... for each"
        )
    return Samples(_single(place, inputs), targets[:, 0].astype(np.int32))


def _single(place: str, array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    if np.isinf(single).sum() != np.isinf(array).sum():
        raise ValueError(f"{place}: has numbers past 3.4e38, which float32 has not; expected them scaled")
    return single


def _form(samples: Samples) -> str:
    sides = [array.shape[1:] for array in samples]
    return f"inputs of shape {sides[0]} and targets {samples.targets.dtype} of shape {sides[1]}"


def _classes(name: str, parts: Parts) -> int:
    found = np.unique(parts.train.targets)
    if not np.array_equal(found, np.arange(len(found))):
        listed = np.array2string(found, threshold=12, separator=", ")
        raise ValueError(f"{name}: has the classes {listed}; expected 0, 1, ... without a gap")
    if parts.test is not None and not np.isin(parts.test.targets, found).all():
        raise ValueError(f"{name}: is tested on classes that it is not trained on; expected 0 to {len(found) - 1}")
    return len(found)
