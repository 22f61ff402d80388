"""Arrays out of a pickle, and nothing else: what CIFAR's python batches need.

A pickle is a program. Besides the values that it spells out (numbers, texts, bytes, lists, tuples, dicts) it may
name any function of any module and call it. Here six names are known, those by which numpy says "an array", and
not even they are numpy's own: each stands for a note of what was said, which is checked before an array is made.
"""

from __future__ import annotations

import io
import math
import pickle
from typing import Any

import numpy as np

_KINDS = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"}  # plain numbers, no objects


def load_arrays(data: bytes, name: str) -> Any:
    """What a pickle spells out, arrays being the only objects in it.

    Args:
        data: the pickle; bytes of Python 2 stay bytes.
        name: of the file, for the errors.

    Raises:
        ValueError: it is no pickle, or truncated, or names anything but arrays of plain numbers. Nothing of it was run.

    Example:
        >>> load_arrays(pickle.dumps({b"data": np.arange(3, dtype=np.uint8)}), "batch")
        {b'data': array([0, 1, 2], dtype=uint8)}
        >>> load_arrays(pickle.dumps(print), "batch")
        Traceback (most recent call last):
        ValueError: batch: names builtins.print; expected a pickle of arrays alone
    """
    try:
        return _made(_Unpickler(io.BytesIO(data), encoding="bytes").load())
    except _Refused as error:
        raise ValueError(f"{name}: names {error}; expected a pickle of arrays alone") from None
    except Exception as error:  # a damaged pickle may fail in any of its steps, and in any way
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{name}: is a damaged or truncated pickle, or none ({reason}); expected arrays") from None


class _Refused(Exception):  # noqa: N818
    """A name that is no array's."""


# Classes, each with a state of its own, since a pickle may set the attributes of anything that has none.


class _Still:
    """Said of a thing that takes no state."""

    def __setstate__(self, state):
        raise ValueError("a state where none belongs")


class _Subtype(_Still):
    """`numpy.ndarray`, which is named but never called."""

    def __new__(cls, *args):
        raise ValueError("an array without its numbers")


class _Kind:
    """`numpy.dtype`: a kind of number, little-endian unless its state says otherwise."""

    def __init__(self, kind, align=False, copy=True):
        del align, copy  # said of every kind, and of no effect on plain ones
        self.kind, self.order = kind.decode() if isinstance(kind, bytes) else kind, "<"
        if self.kind not in _KINDS:
            raise ValueError(f"numbers of kind {self.kind!r}")

    def __setstate__(self, state):
        order = state[1].decode() if isinstance(state[1], bytes) else state[1]
        self.order = {"<": "<", ">": ">", "|": "<"}[order]

    def dtype(self) -> np.dtype:
        return np.dtype(self.order + self.kind)


class _Array:
    """`numpy._reconstruct`: an empty array, of which the state says all."""

    def __init__(self, subtype, shape, code):
        del shape, code  # of the empty array
        if subtype is not _Subtype:
            raise ValueError("a kind of array of its own")
        self.array = None

    def __setstate__(self, state):
        _, shape, kind, fortran, numbers = state
        self.array = _filled(numbers, kind, shape, "F" if fortran else "C")


class _Frame(_Still):
    """`numpy._frombuffer`, protocol 5."""

    def __init__(self, numbers, kind, shape, order):
        self.array = _filled(numbers, kind, shape, order)


class _Encoded(bytes, _Still):
    """`_codecs.encode`, by which Python 3 says bytes in protocol 2."""

    def __new__(cls, text, encoding):
        if encoding not in ("latin1", b"latin1"):
            raise ValueError(f"bytes in {encoding!r}")
        return super().__new__(cls, text.encode("latin1"))


def _filled(numbers, kind: _Kind, shape: tuple[int, ...], order: str) -> np.ndarray:
    if type(kind) is not _Kind or not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError("an array without a kind or a shape")
    dtype = kind.dtype()
    if len(numbers) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(numbers)} bytes for an array of shape {shape} and type {dtype}")
    return np.frombuffer(bytes(numbers), dtype).reshape(shape, order=order)


_NAMES = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Frame for core in ("core", "_core")},
    ("numpy", "ndarray"): _Subtype,
    ("numpy", "dtype"): _Kind,
    ("_codecs", "encode"): _Encoded,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in _NAMES:
            raise _Refused(f"{module}.{name}")
        return _NAMES[module, name]


def _made(value: Any) -> Any:
    """The value with arrays in the place of what was noted of them."""
    if isinstance(value, _Array | _Frame):
        if value.array is None:
            raise ValueError("an array without its numbers")
        return value.array
    if isinstance(value, _Encoded):
        return bytes(value)
    if isinstance(value, dict):
        return {_made(key): _made(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_made(item) for item in value)
    if not isinstance(value, str | bytes | int | float | None):
        raise ValueError(f"a {type(value).__name__}")
    return value
