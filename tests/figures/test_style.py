import io
import warnings

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from nagviz.figures import COLUMN, LANDSCAPE, Figure, context, looks
from nagviz.figures.style import (
    BAR,
    HALO,
    NIGHTSCAPE,
    SMALL,
    TEXT,
    TITLE,
    lab_to_srgb,
    night,
    printable,
    resolve,
    srgb_to_lab,
)

TEN = ["SGD", "heavy ball", "NAG", "Adam", "Adagrad", "RMSProp", "Lion", "Muon", "QHM", "NAG restart"]
# Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)


def linear(srgb):
    srgb = np.asarray(srgb, dtype=float)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def lab(rgb_linear):
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    t = np.clip(rgb_linear, 0, 1) @ to_xyz.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


@pytest.fixture(scope="module")
def ground():
    return lab(linear(LANDSCAPE(np.arange(256))[:, :3]))


def test_the_ground_darkens_with_the_loss_and_stops_short_of_white_and_black(ground):
    lightness = ground[:, 0]
    assert (np.diff(lightness) < 0).all()
    assert 93 < lightness[0] < 98
    assert 55 < lightness[-1] < 70


def test_the_ground_is_perceptually_even(ground):
    steps = np.linalg.norm(np.diff(ground, axis=0), axis=1)
    assert steps.max() / steps.min() < 1.05


def test_the_ground_is_quieter_than_every_path(ground):
    chroma = np.hypot(*ground[:, 1:].T).max()
    assert chroma < 20
    saturated = [look.color for look in looks(TEN).values() if look.color != "#000000"]
    for color in saturated:
        assert np.hypot(*lab(linear(to_rgb(color)))[1:]) > 1.3 * chroma, color


def test_the_ground_keeps_its_order_for_deuteranopes(ground):
    seen = lab(linear(LANDSCAPE(np.arange(256))[:, :3]) @ DEUTERANOPIA.T)
    assert (np.diff(seen[:, 0]) < 0).all()


def test_first_five_looks_differ_for_deuteranopes():
    colors = [to_rgb(look.color) for look in looks(TEN[:5]).values()]
    seen = lab(linear(colors) @ DEUTERANOPIA.T)
    gaps = np.linalg.norm(seen[:, None] - seen[None], axis=-1)[np.triu_indices(5, 1)]
    assert gaps.min() > 15


def test_paths_are_told_from_the_dark_end_of_the_ground_by_their_halo(ground):
    assert lab(linear((1, 1, 1)))[0] - ground[-1, 0] > 30
    assert HALO >= 0.5


def test_lab_round_trip():
    colors = np.random.default_rng(0).uniform(0.05, 0.95, (50, 3))
    np.testing.assert_allclose(lab_to_srgb(lab(linear(colors))), colors, atol=1e-4)


def test_nag_is_the_hero():
    table = looks(TEN)
    others = [look for name, look in table.items() if not name.startswith("NAG")]
    assert table["NAG"].color == "#D55E00"
    for hero in (table["NAG"], table["NAG restart"]):
        assert hero.dash == (0, None)
        assert hero.width > max(look.width for look in others)
        assert hero.order > max(look.order for look in others)
    assert table["NAG"].order > table["NAG restart"].order


def test_looks_differ_in_all_and_without_colour():
    many = TEN + [f"optimizer {index}" for index in range(12)]
    table = looks(many)
    assert list(table) == many
    assert len({(look.color, look.dash, look.marker) for look in table.values()}) == len(many)
    assert len({(look.dash, look.marker) for look in table.values()}) == len(many)
    assert len({look.color for look in looks(TEN[:8]).values()}) >= 7


def test_a_name_keeps_its_look_and_an_unknown_one_is_refused():
    table = looks(TEN)
    assert resolve(["Adam"], table) == {"Adam": table["Adam"]}
    assert looks(["SGD", "SGD", "NAG"]) == looks(["SGD", "NAG"])
    with pytest.raises(ValueError, match=r"'Lookahead'.*looks\(\)"):
        resolve(["Adam", "Lookahead"], table)


def test_context_is_ours_inside_and_the_callers_outside():
    with matplotlib.rc_context({"axes.grid": True, "font.size": 30.0, "pdf.fonttype": 3}):
        before = dict(matplotlib.rcParams)
        with context():
            assert matplotlib.rcParams["pdf.fonttype"] == 42
            assert matplotlib.rcParams["svg.fonttype"] == "none"
            assert not matplotlib.rcParams["axes.grid"]
        assert dict(matplotlib.rcParams) == before


def test_text_is_of_seven_points_or_more():
    assert min(SMALL, TEXT, TITLE) >= 7
    with context():
        sizes = [matplotlib.rcParams[f"{axis}tick.labelsize"] for axis in "xy"]
    assert min(sizes) >= 7
    assert BAR[2] < 0.05


def drawing():
    figure = Figure(figsize=(COLUMN, 2))
    ax = figure.subplots()
    ax.contourf(np.arange(12).reshape(3, 4), hatches=["/", None])
    ax.set_title("a title")
    return figure


def saved(figure, kind, **kwargs):
    file = io.BytesIO()
    figure.savefig(file, format=kind, **kwargs)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_the_same_figure_is_the_same_bytes(kind, monkeypatch):
    first, figure = saved(drawing(), kind), drawing()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")  # any date that were written would show
    with matplotlib.rc_context({"font.size": 20.0, "svg.hashsalt": "other"}):
        assert saved(figure, kind) == first


def test_pdf_and_svg_keep_text_as_text_and_no_date(tmp_path):
    drawing().savefig(tmp_path / "figure.pdf", metadata={"Title": "mine"})
    pdf = (tmp_path / "figure.pdf").read_bytes()
    assert b"/FontFile2" in pdf  # an embedded TrueType font: Type 42
    assert b"/Type3" not in pdf
    assert b"/CreationDate" not in pdf
    assert b"mine" in pdf
    svg = saved(drawing(), "svg").decode()
    assert ">a title</text>" in svg
    assert "<dc:date>" not in svg


def test_a_notebook_gets_a_png():
    assert drawing()._repr_png_().startswith(b"\x89PNG")


def test_characters_without_a_font_are_written_out_and_do_not_warn():
    figure = Figure(figsize=(COLUMN, 2))
    ax = figure.subplots()
    ax.set(xlabel="Градиентный спуск", ylabel="loss \U000f0000")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        saved(figure, "png")
    assert ax.get_xlabel() == "Градиентный спуск"
    assert ax.get_ylabel() == "loss \\U000f0000"


def test_a_character_is_taken_from_another_installed_font(monkeypatch):
    monkeypatch.setattr("nagviz.figures.style._family_with", lambda character: "STIXGeneral")
    assert printable("\u4e3b") == ("\u4e3b", ["DejaVu Sans", "STIXGeneral"])


def test_by_night_the_ground_lightens_with_the_loss_and_stops_short_of_every_path():
    ground = lab(linear(NIGHTSCAPE(np.arange(256))[:, :3]))
    assert (np.diff(ground[:, 0]) > 0).all()
    assert ground[0, 0] < 15
    lightness = [lab(linear(to_rgb(night(look.color))))[0] for look in looks(TEN).values()]
    assert min(lightness) > ground[-1, 0] + 20


def test_colours_go_to_lightness_and_back():
    colors = np.random.default_rng(0).random((50, 3))
    np.testing.assert_allclose(srgb_to_lab(colors), lab(linear(colors)), atol=2e-3)
    np.testing.assert_allclose(lab_to_srgb(srgb_to_lab(colors)), colors, atol=1e-6)
