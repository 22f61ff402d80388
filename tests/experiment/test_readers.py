"""Files in their original formats, written byte by byte; and files that are not what they should be."""

import gzip
import io
import pickle
import re
import struct
import tarfile

import numpy as np
import pytest

from nagviz.experiment import data
from nagviz.experiment.pickles import load_arrays

TRAIN = [f"data_batch_{i}" for i in range(1, 6)]
PIXELS = 3 * 32 * 32


def idx(code, shape, body):
    return bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + body


@pytest.fixture
def file(tmp_path):
    def write(content, name="file"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


# IDX.

NUMBERS = {  # type code: the bytes of two numbers, the numbers, their type
    0x08: (b"\x00\xff", [0, 255], np.uint8),
    0x09: (b"\x7f\xff", [127, -1], np.int8),
    0x0B: (b"\x01\x00\xff\xfe", [256, -2], np.int16),
    0x0C: (b"\x00\x00\x01\x00\xff\xff\xff\xfe", [256, -2], np.int32),
    0x0D: (b"\x3f\x80\x00\x00\xff\x80\x00\x00", [1.0, -np.inf], np.float32),
    0x0E: (b"\x3f\xf0" + bytes(6) + b"\x7f\xf8" + bytes(6), [1.0, np.nan], np.float64),
}


@pytest.mark.parametrize("code", NUMBERS)
@pytest.mark.parametrize("compressed", [False, True])
def test_an_idx_file_of_every_type_is_read_in_its_type(file, code, compressed):
    body, numbers, dtype = NUMBERS[code]
    content = idx(code, (1, 2), body)
    read = data.read_idx(file(gzip.compress(content) if compressed else content))
    np.testing.assert_array_equal(read, [numbers])
    assert read.dtype == dtype
    assert read.dtype.isnative


def test_the_last_index_of_an_idx_file_runs_fastest(file):
    read = data.read_idx(file(idx(8, (2, 3, 4), bytes(range(24)))))
    assert read.tolist() == np.arange(24).reshape(2, 3, 4).tolist()


LABELS = idx(8, (3,), b"\x01\x02\x03")
BROKEN_IDX = {
    "truncated": (LABELS[:-1], "has only 2 bytes after its header; expected 3, for shape (3,)"),
    "longer": (LABELS + b"\x04", "has more bytes after its header; expected 3"),
    "half a header": (LABELS[:6], "ends in its header; expected the sizes of 1 dimensions"),
    "empty": (b"", "begins with b''; expected an IDX file"),
    "another kind": (b"\x89PNG\r\n", "expected an IDX file: two zero bytes, a type, its dimensions"),
    "no such type": (idx(0x0A, (1,), b"\0"), "expected an IDX file"),
    "no dimensions": (bytes([0, 0, 8, 0]), "expected an IDX file"),
    "a header that lies": (idx(8, (2**32 - 1,) * 3, b"\0"), "has only 1 bytes after its header"),
    "truncated gzip": (gzip.compress(LABELS)[:-9], "is truncated or damaged; expected a whole gzip file"),
    "damaged gzip": (gzip.compress(LABELS)[:-5] + b"\0" * 5, "is truncated or damaged"),
}


@pytest.mark.parametrize("case", BROKEN_IDX)
def test_a_broken_idx_file_is_named_with_what_was_expected(file, case):
    content, reason = BROKEN_IDX[case]
    with pytest.raises(ValueError, match=re.escape(reason)) as caught:
        data.read_idx(file(content, "labels.gz"))
    assert str(caught.value).startswith(str(file(content, "labels.gz")))


# CIFAR-10: two images a batch, every pixel of which tells its batch, place and colour.


def rows(batch):
    return (np.arange(2 * PIXELS).reshape(2, PIXELS) * 7 + batch).astype(np.uint8)


def python2_batch(images, labels):
    """As cPickle of Python 2 wrote it in protocol 2: every text is bytes, the names are those of old numpy."""

    def text(value):
        return b"U" + bytes([len(value)]) + value

    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
        b"(K\x01K" + bytes([len(images)]) + b"M" + struct.pack("<H", PIXELS) + b"\x86"
        b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R"
        b"(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89T" + struct.pack("<I", images.size) + images.tobytes() + b"tb"
    )
    listed = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + listed + b"u."


def python_batch(images, labels, protocol=4):
    return pickle.dumps(
        {b"batch_label": b"one", b"labels": labels, b"data": images, b"filenames": [b"a", b"b"]}, protocol
    )


def binary_batch(images, labels):
    return b"".join(bytes([label]) + row.tobytes() for label, row in zip(labels, images, strict=True))


def six(batch, end=""):
    names = [*TRAIN, "test_batch"]
    return {f"{name}{end}": batch(rows(i), [i, 9 - i]) for i, name in enumerate(names)}


WAYS = {
    "python 2": six(python2_batch),
    "binary": six(binary_batch, ".bin"),
    **{f"protocol {p}": six(lambda *a, p=p: python_batch(*a, p)) for p in range(6)},
}


def folder_of(files, folder):
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def archive_of(files, path, inside="cifar-10-batches-py"):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{inside}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", ["folder", "archive", "folder with the archive", "folder with the folder"])
def test_cifar_is_read_in_all_its_forms(tmp_path, way, form):
    if form == "folder":
        path = folder_of(WAYS[way], tmp_path / "batches")
    elif form == "archive":
        path = archive_of(WAYS[way], tmp_path / "any name")
    else:
        path = tmp_path
        if form == "folder with the archive":
            archive_of(WAYS[way], tmp_path / "cifar-10-python.tar.gz")
        else:
            folder_of(WAYS[way], tmp_path / "cifar-10-batches-bin")
    train, test = data.read_cifar(path)
    assert train.inputs.shape == (10, 32, 32, 3)
    assert train.inputs.dtype == np.float32
    assert train.targets.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]
    assert test.targets.tolist() == [5, 4]
    # The original is colour by colour, row by row.
    red, green, blue = rows(5)[1].reshape(3, 32, 32)
    np.testing.assert_array_equal(test.inputs[1], np.stack([red, green, blue], -1).astype(np.float32) / 255)


def test_one_batch_is_the_part_that_it_belongs_to(file):
    train, none = data.read_cifar(file(WAYS["protocol 2"]["data_batch_3"], "data_batch_3"))
    assert train.targets.tolist() == [2, 7]
    assert none is None
    none, test = data.read_cifar(file(WAYS["binary"]["test_batch.bin"], "test_batch.bin"))
    assert test.targets.tolist() == [5, 4]
    assert none is None


GOOD = WAYS["protocol 4"]["data_batch_2"]
BROKEN_BATCHES = {
    "truncated": (GOOD[:-9], "is a damaged or truncated pickle, or none"),
    "empty": (b"", "is a damaged or truncated pickle, or none"),
    "text": (b"hello", "is a damaged or truncated pickle, or none"),
    "no dict": (pickle.dumps([1]), "holds a list; expected a dict with 'data' and 'labels'"),
    "no data": (pickle.dumps({b"labels": [1]}), "has as 'data' NoneType; expected uint8 of shape (images, 3072)"),
    "wrong shape": (
        pickle.dumps({b"data": np.zeros((2, 784), np.uint8), b"labels": [1, 2]}),
        "has as 'data' uint8 of shape (2, 784); expected uint8 of shape (images, 3072)",
    ),
    "wrong type": (pickle.dumps({b"data": np.zeros((2, PIXELS)), b"labels": [1, 2]}), "has as 'data' float64"),
    "CIFAR-100": (
        pickle.dumps({b"data": rows(0), b"fine_labels": [1, 2]}),
        "has no 'labels' that go with its 2 images; expected an integer for each",
    ),
    "too few labels": (python_batch(rows(0), [1]), "has no 'labels' that go with its 2 images"),
    "labels of texts": (python_batch(rows(0), ["a", "b"]), "has no 'labels' that go with its 2 images"),
    "a class too many": (python_batch(rows(0), [1, 10]), "has labels from 1 to 10; expected 0 to 9"),
    "objects": (pickle.dumps({b"data": np.array([None])}), "is a damaged or truncated pickle, or none"),
}


@pytest.mark.parametrize("case", BROKEN_BATCHES)
def test_a_broken_batch_is_named_with_what_was_expected(tmp_path, case):
    content, reason = BROKEN_BATCHES[case]
    folder = folder_of(WAYS["protocol 4"] | {"data_batch_2": content}, tmp_path / "batches")
    with pytest.raises(ValueError, match=re.escape(reason)) as caught:
        data.read_cifar(folder)
    assert str(caught.value).startswith(f"{folder}/data_batch_2: ")


def test_a_truncated_binary_batch_is_named(tmp_path):
    folder = folder_of(WAYS["binary"] | {"test_batch.bin": b"\1" * 3072}, tmp_path / "batches")
    with pytest.raises(ValueError, match=r"test_batch.bin: has 3,072 bytes; expected a multiple of 3073"):
        data.read_cifar(folder)


def test_missing_batches_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no data_batch_4, test_batch; expected the six batches"):
        data.read_cifar(
            folder_of(
                dict.fromkeys(["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_5"], b""), tmp_path / "b"
            )
        )


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_truncated_archive_is_named(tmp_path, share):
    whole = archive_of(WAYS["protocol 4"], tmp_path / "whole").read_bytes()
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"tar.gz: is truncated or damaged; expected"):
        data.read_cifar(path)


def test_nothing_of_an_archive_is_written_wherever_its_names_lead(tmp_path):
    """Names that climb out of the archive are only names: the batch is read, no file appears."""
    inner = tmp_path / "in" / "side"
    inner.mkdir(parents=True)
    path = archive_of(WAYS["protocol 4"], inner / "a.tar.gz", inside="../../..")
    before = sorted(tmp_path.rglob("*"))
    assert len(data.read_cifar(path).train.targets) == 10
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_a_link_in_the_place_of_a_batch_is_not_followed(tmp_path, kind):
    secret = tmp_path / "secret"
    secret.write_bytes(WAYS["protocol 4"]["data_batch_1"])
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        member.type, member.linkname = kind, str(secret)
        archive.addfile(member)
    with pytest.raises(ValueError, match=r"a.tar.gz: has a link or 0 bytes as .*data_batch_1; expected a batch"):
        data.read_cifar(path)


# Pickles that would do something.


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def calls_of(marker):
    create = f"__import__('pathlib').Path({str(marker)!r}).touch()"
    code = f"cposix\nsystem\n(U{chr(len(f'touch {marker}'))}touch {marker}tR.".encode()
    return {
        "eval": pickle.dumps({b"data": Calls(eval, create)}),
        "exec, in a list of labels": pickle.dumps({b"data": rows(0), b"labels": [1, Calls(exec, create)]}),
        "system, by hand": code,
        "open": pickle.dumps(Calls(open, str(marker), "w")),
        "a numpy function": pickle.dumps(Calls(np.fromfile, str(marker))),
        "getattr": pickle.dumps(Calls(getattr, "a", "upper")),
        "an instance": b"(iposix\nsystem\n.",
        "an instance, the other way": b"(cposix\nsystem\nX\x01\x00\x00\x00aoR.",
    }


@pytest.mark.parametrize("case", calls_of("x"))
@pytest.mark.parametrize("form", ["batch", "folder", "archive"])
def test_a_malicious_pickle_is_refused_and_nothing_of_it_is_run(tmp_path, case, form):
    marker = tmp_path / "marker"
    evil = calls_of(marker)[case]
    files = WAYS["protocol 4"] | {"data_batch_1": evil}
    make = {
        "batch": lambda: folder_of(files, tmp_path / "b") / "data_batch_1",
        "folder": lambda: folder_of(files, tmp_path / "b"),
        "archive": lambda: archive_of(files, tmp_path / "a.tar.gz"),
    }
    with pytest.raises(ValueError, match=r"data_batch_1: names \S+\.\S+; expected a pickle of arrays alone"):
        data.read_cifar(make[form]())
    assert not marker.exists()


STATES = {  # what a pickle may try on the names that it is allowed
    "an object as numbers": (b"cnumpy\ndtype\nU\x01OK\x00K\x01\x87R.", "numbers of kind 'O'"),
    "an empty array": (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R.",
        "an array without its numbers",
    ),
    "an array by its class": (b"cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85\x85R.", "an array without its numbers"),
    "attributes of a class": (
        b"cnumpy.core.multiarray\n_reconstruct\nN}U\x01aK\x01s\x86b.",
        "missing 1 required positional argument",
    ),
    "attributes of a name": (b"c_codecs\nencode\nN}U\x01aK\x01s\x86b.", ""),
    "the name itself": (b"cnumpy\ndtype\n.", "a type"),
    "a codec": (b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R.", "bytes in 'hex'"),
    "more than there is": (
        b"cnumpy.core.numeric\n_frombuffer\n(C\x02abcnumpy\ndtype\nU\x02u1\x85RK\x09\x85U\x01CtR.",
        "2 bytes for an array of shape (9,) and type uint8",
    ),
    "a set": (pickle.dumps({1, 2}), "a set"),
    "a list in itself": (b"]q\x00h\x00a.", "RecursionError"),
    "a persistent id": (b"Pname\n.", "persistent"),
    "an extension": (b"\x82\x01.", "extension"),
}


@pytest.mark.parametrize("case", STATES)
def test_what_stands_for_numpy_makes_arrays_of_numbers_alone(case):
    content, reason = STATES[case]
    with pytest.raises(ValueError, match="^batch: .*" + re.escape(reason)):
        load_arrays(content, "batch")
    assert load_arrays(GOOD, "batch")[b"labels"] == [1, 8]  # and is as it was


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_of_all_kinds_and_orders_come_back(protocol):
    arrays = [
        np.arange(6, dtype=">i4").reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.ones((1, 3), np.float16),
        np.array([True, False]),
        np.array(7, np.uint64),
    ]
    for array, read in zip(arrays, load_arrays(pickle.dumps(arrays, protocol), "batch"), strict=True):
        np.testing.assert_array_equal(read, array)
        assert read.dtype == array.dtype


# Other files.


def test_named_arrays_are_read_and_python_objects_are_not(tmp_path, file):
    np.savez(tmp_path / "good.npz", x=np.arange(3), y=np.ones((2, 2)))
    assert {name: array.shape for name, array in data.read_npz(tmp_path / "good.npz").items()} == {
        "x": (3,),
        "y": (2, 2),
    }
    marker = tmp_path / "marker"
    evil = calls_of(marker)["eval"]
    np.savez(tmp_path / "objects.npz", x=np.array([Calls(eval, f"open({str(marker)!r}, 'w')")], object))
    np.save(tmp_path / "one.npy", np.arange(3))
    wrong = [
        tmp_path / "objects.npz",
        tmp_path / "one.npy",
        file(evil, "pickle"),
        file((tmp_path / "good.npz").read_bytes()[:-30], "truncated.npz"),
        file(b"", "empty.npz"),
    ]
    for path in wrong:
        with pytest.raises(ValueError, match=re.escape(str(path)) + ".*; expected arrays of numbers, by numpy.savez"):
            data.read_npz(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"1,2,3\n4,5\n", "expected 3 integers from 0 to 255 in every line"),
        (b"1,2\n4,5\n", "has 2 numbers in its lines; expected 3"),
        (b"1,2,256\n", "expected 3 integers from 0 to 255"),
        (b"1,2,-1\n", "expected 3 integers from 0 to 255"),
        (b"1,2,0.5\n", "expected 3 integers from 0 to 255"),
        (b"1,2,x\n", "expected 3 integers from 0 to 255"),
        (b"", "is empty; expected 3 integers"),
    ],
)
def test_a_table_is_read_as_it_is_and_a_broken_one_is_named(file, content, reason):
    good = b"0,1,2\n3,4,255"
    assert data.read_table(file(gzip.compress(good)), 3).tolist() == [[0, 1, 2], [3, 4, 255]]
    with pytest.raises(ValueError, match=re.escape(reason)) as caught:
        data.read_table(file(content), 3)
    assert str(caught.value).startswith(str(file(content)))


def test_a_text_is_utf_8_and_keeps_its_ends_of_lines(file):
    assert data.read_text(file("\ufeffa\r\nß".encode())) == "a\r\nß"
    with pytest.raises(ValueError, match=r"file: is no UTF-8 at byte 1; expected a text in that encoding"):
        data.read_text(file(b"a\xff"))
