"""Slices for ParaView and VisIt: structured grids in VTK's XML format.

A `.vts` file holds the grid's points and, for each quantity, a number at each point. Numbers are float64 in base64
behind their length, so that NaN and infinity survive and nothing is rounded.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from nagviz.landscape.slicing import Slice


def save_vts(file: Path, cut: Slice) -> None:
    """Write a slice as a VTK structured grid, whole or not at all.

    In ParaView, `Warp By Scalar` raises the flat grid to a surface.

    Args:
        file: its name should end in ".vts".
        cut: on a plane or a line; of several quantities each becomes a field of point data.

    Example:
        >>> import tempfile, nagviz as nv
        >>> file = Path(tempfile.mkdtemp()) / "slice.vts"
        >>> nv.save_vts(file, nv.Slice(np.arange(3.0), np.arange(2.0), np.zeros((2, 3))))
        >>> "WholeExtent='0 2 0 1 0 0'" in file.read_text()
        True

    Source: VTK file formats, "XML file formats", StructuredGrid.
    """
    y = np.zeros(1) if cut.y is None else cut.y
    # VTK runs through x first, as the rows of a slice do.
    points = np.stack([*np.meshgrid(cut.x, y), np.zeros((len(y), len(cut.x)))], axis=-1)
    values = cut.values if isinstance(cut.values, Mapping) else {cut.quantity: cut.values}
    fields = "".join(_array(str(name), field) for name, field in values.items())
    extent = f"0 {len(cut.x) - 1} 0 {len(y) - 1} 0 0"
    text = (
        "<?xml version='1.0'?>\n"
        "<VTKFile type='StructuredGrid' version='1.0' byte_order='LittleEndian' header_type='UInt64'>\n"
        f"<StructuredGrid WholeExtent='{extent}'>\n<Piece Extent='{extent}'>\n"
        f"<PointData Scalars={quoteattr(str(next(iter(values))))}>\n{fields}</PointData>\n"
        f"<Points>\n{_array('points', points, 3)}</Points>\n"
        "</Piece>\n</StructuredGrid>\n</VTKFile>\n"
    )
    file = Path(file)
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)


def _array(name: str, numbers: np.ndarray, components: int = 1) -> str:
    raw = np.asarray(numbers, "<f8").tobytes()
    text = base64.b64encode(np.array(len(raw), "<u8").tobytes() + raw).decode("ascii")
    head = f"type='Float64' Name={quoteattr(name)} NumberOfComponents='{components}' format='binary'"
    return f"<DataArray {head}>{text}</DataArray>\n"
