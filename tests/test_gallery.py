"""The README's pictures are made by one command, from the shipped experiments."""

import re
import runpy
from pathlib import Path

import pytest
from PIL import Image

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


def test_the_emblem_is_made_again_to_the_byte(tmp_path):
    for folder in (tmp_path / "one", tmp_path / "two"):
        make["make"](folder, tmp_path / "runs", ["emblem"])
    for name in ("emblem.png", "emblem.svg"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    with Image.open(tmp_path / "one" / "emblem.png") as image, Image.open(GALLERY / "emblem.png") as kept:
        assert image.size == kept.size


@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
def test_the_reduced_form_runs_experiments_and_draws_them_again_to_the_byte(tmp_path):
    names = ["digits", "field"]
    for out in ("one", "two"):  # the second time from the finished runs
        make["make"](tmp_path / out, tmp_path / "runs", names, reduced=True)
    for name in names:
        assert (tmp_path / "one" / f"{name}.png").read_bytes() == (tmp_path / "two" / f"{name}.png").read_bytes()
        with Image.open(tmp_path / "one" / f"{name}.png") as image:
            assert image.size[0] > 900
