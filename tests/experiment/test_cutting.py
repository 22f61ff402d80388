"""A finished run is cut by planes of one's choice."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from nagviz.cli import main
from nagviz.experiment.cutting import PLANES
from nagviz.landscape import load_slice

DIGITS = Path(__file__).parents[2] / "experiments" / "digits.toml"
SMALL = ["steps=20", "every=2", "slice.grid=3", "training.batch_size=32", "model.hidden=[8]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    words = [word for setting in SMALL for word in ("--set", setting)]
    assert main(["run", str(DIGITS), "--out", str(folder), *words]) == 0
    return folder


def cut(folder, *words):
    return main(["slice", str(folder), "--grid", "5", *words])


def ends(folder):
    with (folder / "results.csv").open(newline="") as file:
        return {row["optimizer"]: float(row["train loss"]) for row in csv.DictReader(file)}


def test_the_middle_of_a_random_plane_is_the_end_of_the_path_it_stands_on(folder, capsys):
    assert cut(folder, "--plane", "random", "--around", "Adam", "--seed", "3", "--range", "0.5") == 0
    made = load_slice(folder / "slices" / "0-random.zarr")
    assert made.x.tolist() == made.y.tolist() == [-0.5, -0.25, 0, 0.25, 0.5]
    assert made.values[2, 2] == pytest.approx(ends(folder)["Adam"], rel=1e-5)
    assert made.labels[0] == "filter-normalised random direction 1 (seed 3)"
    said = capsys.readouterr().out
    assert said.startswith("Adam\n")
    assert "off plane" in said
    assert "slice-random.png" in said
    assert (folder / "slice-random.pdf").read_bytes().startswith(b"%PDF")


def test_three_ends_lie_on_the_plane_through_them(folder, capsys):
    assert cut(folder, "--plane", "points") == 0
    made = load_slice(folder / "slices" / "0-points.zarr")
    read = RegularGridInterpolator((made.y, made.x), made.values)
    losses = list(ends(folder).values())[:3]
    for point, true in zip(((0, 0), (0, 1)), losses, strict=False):  # where the grid is close: to its own accuracy
        assert read(point).item() == pytest.approx(true, rel=0.2)
    assert capsys.readouterr().out.count("at most 0.0% of the distance") == 3


@pytest.mark.parametrize("plane", ["pca", "hessian"])
def test_other_planes_say_what_their_axes_are(folder, plane):
    assert cut(folder, "--plane", plane) == 0
    said = {"pca": "of path variance", "hessian": "Hessian eigenvector (eigenvalue "}[plane]
    made = load_slice(folder / "slices" / f"0-{plane}.zarr")
    assert all(said in label for label in made.labels)
    assert np.isfinite(made.values).all()


def test_tiles_of_another_cut_are_not_taken_for_this_one(folder, capsys):
    assert cut(folder, "--plane", "random", "--seed", "7", "--overwrite") == 0
    assert cut(folder, "--plane", "random", "--seed", "7") == 0
    assert cut(folder, "--plane", "random", "--seed", "8") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert cut(folder, "--plane", "random", "--seed", "8", "--overwrite") == 0


def test_what_is_not_there_is_refused(folder, tmp_path, capsys):
    for words, said in [
        ([str(tmp_path)], "holds no run"),
        ([str(folder), "--problem", "wine"], "it has digits"),
        ([str(folder), "--around", "Lion"], "it has NAG, heavy ball"),
        ([str(folder), "--grid", "4"], "must be an odd number of at least 3, got 4"),
        ([str(folder), "--range", "nan"], "must be a positive number, got nan"),
        ([str(folder), "--plane", "polar"], "invalid choice"),
    ]:
        assert main(["slice", *words]) == 2
        assert said in capsys.readouterr().err


def test_the_command_offers_the_planes_that_there_are(capsys):
    assert main(["slice", "--help"]) == 0
    assert f"{{{','.join(PLANES)}}}" in capsys.readouterr().out
