"""A surface to be turned by hand, as one HTML file without a network: drawn by plotly, which is optional.

What is drawn is that of `surface`: the relief, cut off where its last level is, and the paths lifted onto it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nagviz.figures import style
from nagviz.figures.levels import round_ticks, tick_text
from nagviz.figures.path import finite_rows, points, steps
from nagviz.figures.relief import HIGH, LIFT, Camera, best_camera, dense, sculpted
from nagviz.figures.style import Look

NEAR = 1.75  # of the camera, in units of the box
DASHES = ("dash", "dot", "dashdot", "longdash")


def surface_html(
    file: str | Path,
    cut: Any,
    paths: Mapping[str, Any] | None = None,
    *,
    levels: Sequence[float] | np.ndarray | None = None,
    camera: Camera | None = None,
    title: str | None = None,
    looks: Mapping[str, Look] | None = None,
) -> None:
    """Write a surface that can be turned, whose points tell their loss, and whose paths can be switched off.

    The file is 5 MB: it holds plotly, so that it needs no network.

    Args:
        file: its name should end in ".html".
        cut: a slice: `x`, `y`, `values` (rows are y), `labels` of the axes and `quantity`.
        paths: by name: (T, 2) coordinates, or records with `.coordinates` and perhaps `.steps`.
        levels: as for `surface`.
        camera: likewise.
        title: above it.
        looks: `looks(names)` of the whole run.

    Raises:
        ImportError: plotly is not installed.
        ValueError: a slice that is a line, or that has no finite value.
    """
    graphs = _plotly()
    paths, values = paths or {}, np.asarray(cut.values, np.float64)
    if not np.isfinite(values).any():
        raise ValueError("cut.values has no finite number: there is no surface to turn")
    table, body = style.resolve(paths, looks), sculpted(cut, levels)
    lifted = {name: body.lifted(points(path)) for name, path in paths.items()}
    camera = camera or best_camera(body, list(lifted.values()))
    figure = graphs.Figure([_relief(graphs, body, values, cut.quantity)])
    raised = np.array([0.0, 0.0, LIFT * body.size[2] / body.box[2]])
    for i, (name, path) in enumerate(paths.items()):
        way = body.lifted(dense(points(path))) + raised
        at = lifted[name] + raised
        figure.add_traces([_line(graphs, name, way, table[name], i), _marks(graphs, name, at, path, table[name])])
    figure.update_layout(title_text=title, **_layout(body, cut, camera))
    figure.write_html(file, include_plotlyjs=True, div_id="surface", default_height="97vh")


def _plotly() -> Any:
    try:
        import plotly.graph_objects as graphs
    except ImportError as error:
        raise ImportError("a surface as HTML is drawn by plotly: pip install 'nagviz[plotly]'") from error
    return graphs


def _relief(graphs: Any, body: Any, values: np.ndarray, quantity: str) -> Any:
    losses = 10**body.z if body.log else body.z
    places = np.linspace(0, 1, body.levels.size)
    ticks = round_ticks(body.levels, 6)
    colors = np.round(255 * style.LANDSCAPE(np.linspace(0, 1, 33))[:, :3]).astype(int)
    return graphs.Surface(
        x=body.x,
        y=body.y,
        z=body.z,
        surfacecolor=np.interp(losses, body.levels, places),
        cmin=0,
        cmax=1,
        colorscale=[[i / 32, f"rgb({r},{g},{b})"] for i, (r, g, b) in enumerate(colors.tolist())],
        colorbar={
            "title": {"text": _plain(quantity), "side": "right"},
            "tickvals": np.interp(ticks, body.levels, places),
            "ticktext": [_shown(tick) for tick in ticks],
            "thickness": 14,
            "len": 0.7,
        },
        contours={"z": {"show": True, "color": style.CONTOUR, "width": 1, **_steps(body)}},
        customdata=values,
        hovertemplate=f"{_plain(quantity)} %{{customdata:.5g}}<br>(%{{x:.4g}}, %{{y:.4g}})<extra></extra>",
        lighting={"ambient": 0.9, "diffuse": 0.35, "specular": 0.02},
        name="surface",
    )


def _steps(body: Any) -> dict[str, float]:
    low, high = float(np.nanmin(body.z)), float(np.nanmax(body.z))
    size = (high - low) / 14 or 1.0
    return {"start": low, "end": high - size / 2, "size": size}  # where it is cut off a line would be a staircase


def _line(graphs: Any, name: str, way: np.ndarray, look: Look, index: int) -> Any:
    dash = "solid" if look.dash[1] is None else DASHES[index % len(DASHES)]
    return graphs.Scatter3d(
        **dict(zip("xyz", way.T, strict=True)),
        mode="lines",
        name=_plain(name),
        legendgroup=_plain(name),
        line={"color": look.color, "width": 6, "dash": dash},
        hoverinfo="skip",
    )


def _marks(graphs: Any, name: str, at: np.ndarray, path: Any, look: Look) -> Any:
    """The iterates, which tell their step; the first and the last one are seen, and a path that is lost has a cross."""
    last, symbols = finite_rows(path) - 1, ["circle"] * len(at)
    sizes = np.full(len(at), 2.0)
    sizes[0], sizes[last] = 5.0, 7.0
    symbols[last] = "circle" if last == len(at) - 1 else "x"
    return graphs.Scatter3d(
        **dict(zip("xyz", at.T, strict=True)),
        mode="markers",
        name=_plain(name),
        legendgroup=_plain(name),
        showlegend=False,
        marker={"size": sizes, "symbol": symbols, "color": look.color, "line": {"width": 0}},
        customdata=steps(path),
        hovertemplate="step %{customdata:,}<br>(%{x:.4g}, %{y:.4g})",
    )


def _layout(body: Any, cut: Any, camera: Camera) -> dict[str, Any]:
    turn, rise = np.radians(camera)
    eye = NEAR * np.array([np.cos(rise) * np.cos(turn), np.cos(rise) * np.sin(turn), np.sin(rise)])
    ticks = round_ticks(body.levels, 5)
    heights = {"tickvals": np.log10(ticks), "ticktext": [_shown(tick) for tick in ticks]} if body.log else {}
    plain = {"backgroundcolor": style.PAPER, "gridcolor": style.GRID["color"], "color": style.INK}
    return {
        "scene": {
            "xaxis": {"title": {"text": _plain(cut.labels[0])}, **plain},
            "yaxis": {"title": {"text": _plain(cut.labels[1])}, **plain},
            "zaxis": {"title": {"text": ""}, **heights, **plain},
            "aspectmode": "manual",
            "aspectratio": dict(zip("xyz", body.box.tolist(), strict=True)),
            "camera": {"eye": dict(zip("xyz", eye.tolist(), strict=True)), "center": {"x": 0, "y": 0, "z": -HIGH / 5}},
        },
        "font": {"family": "DejaVu Sans, Verdana, sans-serif", "color": style.INK},
        "paper_bgcolor": style.PAPER,
        "legend": {"x": 0.02, "y": 0.98, "bgcolor": "rgba(255,255,255,0.7)"},
        "margin": {"l": 0, "r": 0, "t": 40, "b": 0},
    }


def _shown(number: float) -> str:
    """A tick without the mathematics that matplotlib would set."""
    text = tick_text(number)
    return f"{number:.3g}" if "$" in text else text


def _plain(text: str) -> str:
    """What plotly would read as mark-up, as it stands."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("$", "&#36;")
