"""Files in their original formats, as arrays: IDX, CIFAR-10, npz, numbers in lines, text.

Every error names the file, what was found in it and what was expected. Nothing is unpacked to disk, and nothing
in a file is run.
"""

from __future__ import annotations

import gzip
import math
import struct
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple
from zipfile import BadZipFile

import numpy as np

from nagviz.experiment.pickles import load_arrays
from nagviz.experiment.samples import Samples

_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_PIECE = 1 << 24  # bytes read at once: a header that lies about its file costs no more memory than the file has


class Parts(NamedTuple):
    """What a file or folder holds of a data set."""

    train: Samples | None
    test: Samples | None


def read_idx(path: str | Path) -> np.ndarray:
    """An array in the format of MNIST's files, compressed by gzip or not.

    Two zero bytes, a byte for the type and one for the number of dimensions; their sizes, big-endian; the numbers,
    row by row.

    Args:
        path: of the file; whether it is compressed is seen from its first bytes, not from its name.

    Returns:
        The array, in the file's type and the machine's byte order.

    Raises:
        OSError: it cannot be read.
        ValueError: it is of another format, truncated, or longer than its header says.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "labels"
        >>> _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
        >>> read_idx(file)
        array([7, 2, 1], dtype=uint8)

    Source: LeCun, Cortes and Burges, The MNIST database (1998).
    """
    with _opened(path) as stream:
        shape, dtype = _idx_header(path, stream)
        expected = math.prod(shape) * dtype.itemsize
        data = _at_most(stream, expected + 1)
    if len(data) != expected:
        found = f"only {len(data):,}" if len(data) < expected else "more"
        raise ValueError(f"{path}: has {found} bytes after its header; expected {expected:,}, for shape {shape}")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _idx_header(path, stream: BinaryIO) -> tuple[tuple[int, ...], np.dtype]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _IDX_TYPES or not 1 <= magic[3] <= 32:
        raise ValueError(f"{path}: begins with {magic!r}; expected an IDX file: two zero bytes, a type, its dimensions")
    sizes = stream.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise ValueError(f"{path}: ends in its header; expected the sizes of {magic[3]} dimensions")
    return struct.unpack(f">{magic[3]}I", sizes), np.dtype(_IDX_TYPES[magic[2]])


@contextmanager
def _opened(path) -> Iterator[BinaryIO]:
    """The file's bytes, decompressed where they are."""
    with Path(path).open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        try:
            yield gzip.GzipFile(fileobj=file) if compressed else file
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: is truncated or damaged; expected a whole gzip file ({error})") from None


def _at_most(stream: BinaryIO, count: int) -> bytes:
    pieces = []
    while count > 0 and (piece := stream.read(min(count, _PIECE))):
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


# CIFAR-10.

_TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
_TEST = "test_batch"
_PYTHON, _BINARY = (*_TRAIN, _TEST), tuple(f"{name}.bin" for name in (*_TRAIN, _TEST))
_PIXELS = 3 * 32 * 32
_LARGEST = 1 << 28  # bytes of a batch; the original ones have under 32 million
CIFAR_PLACES = (
    "cifar-10-batches-py",
    "cifar-10-batches-bin",
    "cifar-10-python.tar.gz",
    "cifar-10-binary.tar.gz",
)  # in a folder, under the names that the archives have and unpack to


def read_cifar(path: str | Path) -> Parts:
    """CIFAR-10 in its original formats, the python or the binary one.

    Args:
        path: a folder with the six batches, or with the original archive or its unpacked folder in it; the archive
            (.tar.gz), which is read where it is; or one batch.

    Returns:
        The training and the test samples: images (samples, 32, 32, 3) float32 in [0, 1], and classes int32. Of one
        batch, the part that it belongs to alone.

    Raises:
        FileNotFoundError: there is no such path, or a batch is missing.
        ValueError: a batch is truncated, of another kind or shape, or its pickle names anything but arrays.

    Source: Krizhevsky, Learning multiple layers of features from tiny images (2009), and the data set's page.
    """
    path = Path(path)
    if path.is_dir():
        return _cifar_folder(path)
    with path.open("rb") as file:
        archive = file.read(2) == b"\x1f\x8b"
    if archive:
        return _joined(str(path), _archived(path))
    samples = _batch(path.name, str(path), _bounded(path))
    return Parts(None, samples) if path.name.startswith(_TEST) else Parts(samples, None)


def _cifar_folder(path: Path) -> Parts:
    inner = next((path / name for name in CIFAR_PLACES if (path / name).exists()), None)
    names = {p.name for p in path.iterdir()}
    if inner is not None and not names & {*_PYTHON, *_BINARY}:
        return read_cifar(inner)
    return _joined(str(path), {name: _bounded(path / name) for name in names & {*_PYTHON, *_BINARY}})


def _bounded(path: Path) -> bytes:
    size = path.stat().st_size
    if size > _LARGEST:
        raise ValueError(f"{path}: has {size:,} bytes; expected a batch of CIFAR-10, which has 31 million")
    return path.read_bytes()


def _archived(path: Path) -> dict[str, bytes]:
    """The batches of an archive by their names; only regular files are looked at, and none is written."""
    found = {}
    try:
        with _opened(path) as stream:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    name = member.name.rpartition("/")[2]
                    if name in (*_PYTHON, *_BINARY):
                        found[name] = _member(path, archive, member)
            while stream.read(_PIECE):  # to the end, where gzip's own sum is checked
                pass
    except tarfile.TarError as error:
        raise ValueError(f"{path}: is truncated or damaged; expected the archive of CIFAR-10 ({error})") from None
    return found


def _member(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if not member.isfile() or member.size > _LARGEST:
        raise ValueError(f"{path}: has a link or {member.size:,} bytes as {member.name}; expected a batch")
    return archive.extractfile(member).read()


def _joined(place: str, batches: Mapping[str, bytes]) -> Parts:
    wanted = _BINARY if batches.keys() & set(_BINARY) and not batches.keys() & set(_PYTHON) else _PYTHON
    missing = [name for name in wanted if name not in batches]
    if missing:
        listed = ", ".join(missing)
        raise FileNotFoundError(f"{place}: has no {listed}; expected the six batches of CIFAR-10, python or binary")
    parts = [_batch(name, f"{place}/{name}", batches[name]) for name in wanted]
    return Parts(Samples(*(np.concatenate(arrays) for arrays in zip(*parts[:-1], strict=True))), parts[-1])


def _batch(name: str, place: str, data: bytes) -> Samples:
    rows, labels = (_binary_batch if name.endswith(".bin") else _python_batch)(place, data)
    if labels.size and not 0 <= labels.min() <= labels.max() <= 9:
        raise ValueError(f"{place}: has labels from {labels.min()} to {labels.max()}; expected 0 to 9")
    images = rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # stored colour by colour
    return Samples(images.astype(np.float32) / 255, labels.astype(np.int32))


def _binary_batch(place: str, data: bytes) -> tuple[np.ndarray, np.ndarray]:
    if not data or len(data) % (_PIXELS + 1):
        raise ValueError(
            f"{place}: has {len(data):,} bytes; expected a multiple of {_PIXELS + 1}, a label and its image"
        )
    rows = np.frombuffer(data, np.uint8).reshape(-1, _PIXELS + 1)
    return rows[:, 1:], rows[:, 0]


def _python_batch(place: str, data: bytes) -> tuple[np.ndarray, np.ndarray]:
    held = load_arrays(data, place)
    if not isinstance(held, dict):
        raise ValueError(f"{place}: holds a {type(held).__name__}; expected a dict with 'data' and 'labels'")
    held = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in held.items()}
    rows, labels = held.get("data"), held.get("labels")
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.shape[1:] != (_PIXELS,):
        found = f"{rows.dtype} of shape {rows.shape}" if isinstance(rows, np.ndarray) else type(rows).__name__
        raise ValueError(f"{place}: has as 'data' {found}; expected uint8 of shape (images, {_PIXELS})")
    listed = isinstance(labels, list | np.ndarray) and len(labels) == len(rows)
    if not listed or not all(type(label) is int for label in np.asarray(labels).tolist()):
        raise ValueError(
            f"{place}: has no 'labels' that go with its {len(rows):,} images; expected an integer for each"
        )
    return rows, np.asarray(labels)


# Arrays by name, numbers in lines, text.


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a file that `numpy.savez` wrote; none that would have to be unpickled.

    Raises:
        OSError: it cannot be read.
        ValueError: it is of another kind, truncated, or holds Python objects.
    """
    try:
        with Path(path).open("rb") as file:
            held = np.load(file, allow_pickle=False)
            if not isinstance(held, np.ndarray):
                return {name: held[name] for name in held.files}
        reason = "is one array without a name"
    except (ValueError, EOFError, BadZipFile, zlib.error, NotImplementedError, RuntimeError):
        # The errors' own words advise to unpickle.
        reason = "is truncated, of another kind, or holds Python objects"
    raise ValueError(f"{path}: {reason}; expected arrays of numbers, by numpy.savez")


def read_table(path: str | Path, columns: int) -> np.ndarray:
    """Integers from 0 to 255 in lines, with commas between them, compressed by gzip or not: (lines, columns) uint8.

    Raises:
        OSError: it cannot be read.
        ValueError: a line has another number of columns, or anything but such integers.
    """
    with _opened(path) as stream:
        lines = stream.read().splitlines()
    if not lines:
        raise ValueError(f"{path}: is empty; expected {columns} integers from 0 to 255 in every line")
    try:
        rows = np.loadtxt(lines, np.uint8, delimiter=",", ndmin=2, comments=None)
    except ValueError as error:
        reason = str(error).partition(";")[0]
        raise ValueError(f"{path}: {reason}; expected {columns} integers from 0 to 255 in every line") from None
    if rows.shape[1] != columns:
        raise ValueError(f"{path}: has {rows.shape[1]} numbers in its lines; expected {columns}")
    return rows


def read_text(path: str | Path) -> str:
    """A text in UTF-8, its ends of lines as they are.

    Raises:
        OSError: it cannot be read.
        ValueError: it is in another encoding, or no text.
    """
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is no UTF-8 at byte {error.start}; expected a text in that encoding") from None
