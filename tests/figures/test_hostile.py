"""Any numbers and any names give curves, cuts and spectra that stand on their page and say what is missing."""

import io

import numpy as np
import pytest
from matplotlib.text import Text

from nagviz.figures import COLUMN, PAGE, Line, Spectrum, curves, cuts, spectrum

STEPS = np.arange(40)
FALLING = 0.1 + 0.9**STEPS
ODD = {
    "constant": np.full(40, 2.0),
    "all NaN": np.full(40, np.nan),
    "zero": np.zeros(40),
    "tiny": 1e-30 * FALLING,
    "huge": 1e30 * FALLING,
    "negative": FALLING - 50,
    "lost": np.where(STEPS > 20, np.inf, FALLING),
}
NAMES = [*(f"an optimizer whose name has forty signs {i}" for i in range(8)), "随机梯度下降", "Нестеров \U0001f600"]


def require_legible(figure):
    """Everything on the page, at 7 pt or more, and no power of ten beside an axis."""
    figure.savefig(io.BytesIO(), format="png", dpi=50)
    box = figure.get_tightbbox().extents
    assert (box[:2] >= -0.03).all()
    assert (box[2:] <= figure.get_size_inches() + 0.03).all()
    assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) >= 7
    assert not any(axis.get_offset_text().get_text() for ax in figure.axes for axis in (ax.xaxis, ax.yaxis))


def empty(figure):
    return [ax for ax in figure.axes if "no finite value" in {text.get_text() for text in ax.texts}]


def test_curves_of_any_numbers():
    figure = curves({name: {"NAG": (STEPS, values), "SGD": (STEPS, values)} for name, values in ODD.items()})
    require_legible(figure)
    assert [ax.get_ylabel() for ax in empty(figure)] == ["all NaN"]
    assert all(ax.get_xlim()[1] >= 39 for ax in empty(figure))
    one = curves({"loss": {"NAG": (STEPS[5:6], FALLING[5:6])}}, width=COLUMN)
    require_legible(one)
    assert one.axes[0].get_xticks().tolist() == [5]


@pytest.mark.parametrize("width", [COLUMN, PAGE])
def test_curves_of_ten_optimizers_of_any_name(width):
    require_legible(curves({"ä" * 40: dict.fromkeys(NAMES, (STEPS, FALLING))}, width=width))


@pytest.mark.parametrize("shares", [True, False])
def test_cuts_of_any_numbers(shares):
    panels = {name: Line(STEPS, {"train loss": v, "test loss": 2 * v}, {"NAG": 0.0}) for name, v in ODD.items()}
    figure = cuts(panels, width=PAGE, shares=shares)
    require_legible(figure)
    assert [ax.get_title() for ax in empty(figure)] == ["all NaN"]
    for ax, values in zip(figure.axes, ODD.values(), strict=True):  # all that is finite is seen
        low, high = ax.get_ylim()
        assert low <= np.min(values, where=np.isfinite(values), initial=np.inf)
        assert high >= np.max(values, where=np.isfinite(values), initial=-np.inf)


@pytest.mark.parametrize("width", [COLUMN, PAGE])
def test_cuts_between_ten_optimizers_of_any_name(width):
    panels = {f"{NAMES[0]} to {name}": Line(STEPS, {"loss": FALLING}, {NAMES[0]: 0.0, name: 1.0}) for name in NAMES[1:]}
    require_legible(cuts(panels, width=width))


@pytest.mark.parametrize("name", ODD)
def test_spectra_of_any_numbers(name):
    values = np.stack([ODD[name], ODD[name] - 1e-3], axis=1)
    figure = spectrum({"NAG": Spectrum(STEPS, values, np.full(40, 27.0)), "SGD": Spectrum(STEPS, values)})
    require_legible(figure)
    assert len(empty(figure)) == (name == "all NaN")


def test_spectra_of_ten_optimizers_of_any_name_and_of_one_point():
    values = np.stack([30 * FALLING, FALLING], axis=1)
    require_legible(spectrum({name: Spectrum(STEPS, values, np.full(40, 27.0)) for name in NAMES}))
    require_legible(spectrum({"NAG": Spectrum(STEPS[:1], values[:1], np.full(1, 27.0))}, width=COLUMN))
