"""The README's pictures are made by one command, from the shipped experiments."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

import nagviz as nv
from nagviz.experiment.config import dump, load

ROOT = Path(__file__).parents[1]
GALLERY = ROOT / "experiments" / "gallery"
make = runpy.run_path(str(GALLERY / "make.py"))
NAMES = ["emblem", *make["SHOWN"]]


def test_the_gallery_holds_what_its_command_makes_each_file_under_300_kilobytes():
    files = {file.name for file in GALLERY.iterdir() if file.suffix in (".png", ".svg")}
    assert files == {"emblem.svg", *(f"{name}.png" for name in NAMES)}
    assert all((GALLERY / file).stat().st_size < 300_000 for file in files)


def test_every_picture_of_the_readme_is_of_the_gallery_and_has_words_for_who_cannot_see_it():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", text)
    assert {Path(link).name for _, link in shown} == {f"{name}.png" for name in NAMES}
    assert all((ROOT / link).is_file() for _, link in shown)
    assert all(len(words) > 20 for words, _ in shown)


def test_the_emblem_is_made_as_it_stands_in_the_gallery(tmp_path):
    make["make"](tmp_path, tmp_path / "runs", ["emblem"])
    for file in (tmp_path / "emblem.svg", GALLERY / "emblem.svg"):
        text = file.read_text(encoding="utf-8")
        assert "Contours: a bent valley f." in text
        assert "in units of its length |s| = 0.169" in text
    with Image.open(tmp_path / "emblem.png") as made, Image.open(GALLERY / "emblem.png") as shown:
        assert made.size == shown.size


@pytest.mark.parametrize("name", make["SHOWN"])
def test_a_reduced_form_is_a_run_and_the_same_one_when_it_is_read_back(name, tmp_path):
    shown, file = make["SHOWN"][name], tmp_path / "reduced.toml"
    config = load(ROOT / "experiments" / f"{shown.experiment}.toml", shown.reduced)
    file.write_text(dump(config), encoding="utf-8")
    assert load(file) == config


def test_the_reduced_form_runs_an_experiment_and_draws_it_again_to_the_byte(tmp_path):
    for out in ("one", "two"):  # the second time from the finished run
        make["make"](tmp_path / out, tmp_path / "runs", ["field"], reduced=True)
    assert (tmp_path / "one" / "field.png").read_bytes() == (tmp_path / "two" / "field.png").read_bytes()
    with Image.open(tmp_path / "one" / "field.png") as image:
        assert image.size[0] == 1005
        inks = {tuple(map(round, 255 * np.array(to_rgb(nv.figures.looks(["NAG"])["NAG"].color))))}
        assert inks <= {color for _, color in image.convert("RGB").getcolors()}


def test_the_picture_of_the_autoencoder_is_that_of_its_table(tmp_path):
    (tmp_path / "table.csv").write_text("kind,0.0,0.0 ±,0.9,0.9 ±\nnag,1.5,0.1,0.5,0.1\nheavy_ball,1.5,0.1,0.7,0.1\n")
    (ax,) = make["by_momentum"](tmp_path).axes
    assert [list(line.get_ydata()) for line in ax.lines if len(line.get_ydata()) == 2][:1] == [[1.5, 0.5]]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0.0", "0.9"]
