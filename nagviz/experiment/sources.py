"""Where a data set is looked for: an explicit path, then `$NAGVIZ_DATA`, then installed packages.

Nothing is ever downloaded. A path that was asked for is the only place then: what stands elsewhere is not taken in
its stead. A file that is there but wrong ends the search; only what is missing sends it on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, TypeVar

T = TypeVar("T")
VARIABLE = "NAGVIZ_DATA"


class Place(NamedTuple):
    """A place to look at, or why there is nothing to look at."""

    name: str
    path: Path | None
    reason: str = ""


def places(path: str | None, names: Sequence[str], packages: Sequence[Place] = ()) -> list[Place]:
    """Where to look, in order.

    Args:
        path: what the config says.
        names: under which `$NAGVIZ_DATA` may have it; "." is the folder itself.
        packages: that may have brought it along.
    """
    if path is not None:
        left = (Place(f"${VARIABLE}", None), *packages)
        skipped = [Place(place.name, None, "not looked at, since a path is given") for place in left]
        return [Place("path", Path(path).expanduser()), *skipped]
    root = os.environ.get(VARIABLE)
    if not root:
        return [Place(f"${VARIABLE}", None, "is not set"), *packages]
    return [*(Place(f"${VARIABLE}", Path(root).expanduser() / name) for name in names), *packages]


def in_package(package: str, *parts: str) -> Place:
    """A file of an installed package, which is found without being imported."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return Place(f"package {package}", None, f"is not installed; pip install {package}")
    return Place(f"package {package}", Path(spec.origin).parent.joinpath(*parts))


def find(what: str, where: Sequence[Place], read: Callable[[Path], T], remedy: str) -> tuple[T, str]:
    """What the first place has.

    Args:
        what: is looked for.
        where: to look, in order.
        read: the reader, which raises FileNotFoundError where a part is missing.
        remedy: where one gets it.

    Returns:
        What was read, and the name of the place that had it.

    Raises:
        ValueError: no place has it; the text lists every one and why it failed.
        OSError, ValueError: by the reader, of what is there and wrong.
    """
    failures = []
    for place in where:
        if place.path is None:
            failures.append(f"{place.name}: {place.reason}")
        elif not place.path.exists():
            failures.append(f"{place.name}: {place.path} does not exist")
        else:
            try:
                return read(place.path), f"{place.name}: {place.path}"
            except FileNotFoundError as error:
                failures.append(f"{place.name}: {error}")
    listed = "".join(f"\n  {failure}" for failure in failures)
    raise ValueError(f"{what} was found nowhere, and nothing is downloaded:{listed}\n{remedy}")
