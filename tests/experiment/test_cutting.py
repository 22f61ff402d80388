"""A finished run is cut by planes of one's choice."""

import csv
import json
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from nagviz.cli import main
from nagviz.experiment import drawing
from nagviz.experiment.cutting import Request, _name
from nagviz.experiment.joining import Choice, between
from nagviz.experiment.planes import KEPT, PLANES
from nagviz.experiment.problems import Standpoint
from nagviz.experiment.report import alone, start_folder
from nagviz.landscape import load_slice, random_walk

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
    name = "0-random-seed3-around3-adam-r0.5-5"
    made = load_slice(folder / "slices" / f"{name}.zarr")
    assert made.x.tolist() == made.y.tolist() == [-0.5, -0.25, 0, 0.25, 0.5]
    assert made.values[2, 2] == pytest.approx(ends(folder)["Adam"], rel=1e-5)
    assert made.labels[0] == "filter-normalised random direction 1 (seed 3)"
    said = capsys.readouterr().out
    assert said.startswith("Adam\n")
    assert "off plane" in said
    assert "random walk" not in said  # which shows nothing on axes that are no principal components
    assert f"slice-{name}.png" in said
    assert (folder / f"slice-{name}.pdf").read_bytes().startswith(b"%PDF")


def test_a_slice_through_principal_components_keeps_what_random_walks_would_show(folder, capsys):
    own = drawing.read_picture(folder / "slices" / "0.zarr")
    assert own.walk == pytest.approx(random_walk(*(path.steps for path in own.seen.values())))
    assert cut(folder) == 0
    assert "of the path; a random walk about its mean shows" in capsys.readouterr().out
    assert cut(folder, "--plane", "random") == 0
    assert not drawing.read_picture(folder / "slices" / "0-random-5.zarr").walk
    assert main(["figure", str(folder), "landscape", "--format", "svg"]) == 0
    assert f"Random walks as long would show {own.walk[0]:.0%} + " in (folder / "landscape.svg").read_text()


def test_three_ends_lie_on_the_plane_through_them(folder, capsys):
    assert cut(folder, "--plane", "points") == 0
    made = load_slice(folder / "slices" / "0-points-5.zarr")
    read = RegularGridInterpolator((made.y, made.x), made.values)
    losses = list(ends(folder).values())[:3]
    for point, true in zip(((0, 0), (0, 1)), losses, strict=False):  # where the grid is close: to its own accuracy
        assert read(point).item() == pytest.approx(true, rel=0.2)
    assert capsys.readouterr().out.count("at most 0.0% of the distance") == 3


@pytest.mark.parametrize("plane", ["pca", "hessian"])
def test_other_planes_say_what_their_axes_are(folder, plane):
    assert cut(folder, "--plane", plane) == 0
    said = {"pca": "of path variance", "hessian": "Hessian eigenvector (eigenvalue "}[plane]
    made = load_slice(folder / "slices" / f"0-{plane}-5.zarr")
    assert all(said in label for label in made.labels)
    assert np.isfinite(made.values).all()


def test_another_cut_has_a_place_of_its_own_and_both_stay(folder):
    slices = folder / "slices"
    assert cut(folder, "--plane", "random") == 0
    first = load_slice(slices / "0-random-5.zarr")
    before = contents(slices / "0-random-5.tiles") | contents(slices / "0-random-5.zarr")
    for words, name in ((["--range", "2"], "0-random-r2-5"), (["--grid", "3"], "0-random-3")):
        assert cut(folder, "--plane", "random", *words) == 0
        assert load_slice(slices / f"{name}.zarr").x.tolist() != first.x.tolist()
        assert {f"slice-{name}.png", f"slice-{name}.pdf"} <= {path.name for path in folder.iterdir()}
    assert contents(slices / "0-random-5.tiles") | contents(slices / "0-random-5.zarr") == before


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_distinct_cut_has_a_name_of_its_own():
    stand = Standpoint("random", seed=0, reach=1.0)
    defaults = Request(stand)
    names = [_name(defaults, 0, 0, "a b"), _name(Request(Standpoint("random")), 0, 0, "a b")]
    assert names == ["0-random"] * 2
    different = [
        (defaults._replace(standpoint=stand._replace(seed=1)), 0, 0, "a b"),
        (defaults._replace(standpoint=stand._replace(reach=1 / 3)), 0, 0, "a b"),
        (defaults._replace(standpoint=stand._replace(reach=0.3333333)), 0, 0, "a b"),
        (defaults._replace(grid=53), 0, 0, "a b"),
        (defaults._replace(standpoint=stand._replace(kind="hessian")), 0, 0, "a b"),
        (defaults, 1, 0, "a b"),
        (defaults, 0, 1, "a-b"),
        (defaults, 0, 2, "a/b"),
        (defaults, 0, 3, "梯度"),
    ]
    names = [_name(*cut) for cut in different]
    assert len({"0-random", *names}) == 1 + len(different)
    assert all(re.fullmatch(r"[a-z0-9.-]+", name) for name in names)


def test_a_cut_is_begun_anew_where_that_is_asked_for(folder, capsys):
    tiles = folder / "slices" / "0-random-seed9-5.tiles"
    tiles.mkdir()
    (tiles / "zarr.json").write_text("{}")
    assert cut(folder, "--plane", "random", "--seed", "9") == 2
    assert "--overwrite begins a cut anew" in capsys.readouterr().err
    assert cut(folder, "--plane", "random", "--seed", "9", "--overwrite") == 0


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="files of limited size")
def test_a_disk_that_takes_no_tiles_is_told_with_what_to_do(folder, capsys):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))  # bytes of a file, which stand for those of a disk
    try:
        assert cut(folder, "--plane", "random", "--seed", "5") == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    said = capsys.readouterr().err
    assert "0-random-seed5-5.tiles cannot be written; free space, or make the folder writable" in said
    assert "tensorstore_spec" not in said
    assert cut(folder, "--plane", "random", "--seed", "5") == 0


def test_one_process_at_a_time_cuts_a_run(folder, capsys):
    with alone(folder):
        assert cut(folder, "--plane", "random") == 2
    assert "is being worked in by another process; wait until it has ended, or copy it" in capsys.readouterr().err


def test_a_run_that_is_made_anew_takes_all_its_cuts_with_it(folder, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    assert (copy / "slices" / "0-random-r2-5.tiles").is_dir()
    config = (copy / "config.toml").read_text()
    start_folder(copy, config, {}, resume=False, overwrite=True)
    kept = {path.name for path in copy.rglob("*") if path.is_file()}
    assert kept == {"config.toml", "environment.json"}


def test_what_is_not_there_is_refused(folder, tmp_path, capsys):
    for words, said in [
        ([str(tmp_path)], "holds no run"),
        ([str(folder), "--problem", "wine"], "it has digits"),
        ([str(folder), "--plane", "random", "--around", "Lion"], "it has NAG, heavy ball"),
        ([str(folder), "--seed", "0"], "--seed does nothing to --plane pca: the principal components"),
        ([str(folder), "--plane", "points", "--seed", "1"], "--seed does nothing to --plane points"),
        ([str(folder), "--around", "NAG"], "--around does nothing to --plane pca"),
        ([str(folder), "--plane", "projection"], "the run's config has no [projection]; take pca, random"),
        ([str(folder), "--grid", "4"], "must be an odd number of at least 3, got 4"),
        ([str(folder), "--range", "nan"], "must be a positive number, got nan"),
        ([str(folder), "--plane", "polar"], "invalid choice"),
    ]:
        assert main(["slice", *words]) == 2
        assert said in capsys.readouterr().err


def test_the_command_offers_the_planes_that_there_are(capsys):
    assert main(["slice", "--help"]) == 0
    assert f"{{{','.join([*PLANES, KEPT])}}}" in capsys.readouterr().out


def test_a_path_that_is_not_finished_is_not_cut_by_and_not_counted(folder, tmp_path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    file = copy / "paths" / "0-0.zarr" / "zarr.json"
    head = json.loads(file.read_text())
    head["attributes"]["facts"] = None  # as until the end
    file.write_text(json.dumps(head))
    assert cut(copy, "--plane", "random") == 2
    assert "0-0.zarr is a path that is not finished; nagviz run --resume goes on with it" in capsys.readouterr().err
    (copy / "curves.png").unlink()
    assert main(["show", str(copy)]) == 0
    assert "state: not finished, 4 paths are complete" in capsys.readouterr().out


def test_a_run_is_not_cut_with_other_data_than_it_was_trained_on(folder, tmp_path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    file = copy / "environment.json"
    held = json.loads(file.read_text())
    held["data"]["digits"] = "0" * 64
    file.write_text(json.dumps(held))
    assert cut(copy, "--plane", "random") == 2
    assert "holds a run on other digits data (SHA-256 000000000000" in capsys.readouterr().err


def test_the_losses_on_the_lines_between_solutions_are_theirs_at_both_ends(folder):
    found = between(folder)
    assert list(found.lines) == [
        "start to NAG",
        *(f"NAG to {name}" for name in ("heavy ball", "SGD", "Adam", "Adagrad")),
    ]
    true = ends(folder)
    for title, line in found.lines.items():
        assert list(line.losses) == ["train loss", "test loss"]
        for name, at in line.marks.items():
            if name != "start":
                (here,) = np.flatnonzero(np.isclose(line.x, at))
                assert line.losses["train loss"][here] == pytest.approx(true[name], rel=1e-5), title
    assert found.note == "Train loss of 1,347 samples, test loss of 450."


def test_lines_lead_to_the_solutions_of_another_run(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "twin")
    found = between(folder, Choice("Adam", other=tmp_path / "twin"))
    assert list(found.lines)[:2] == ["start to Adam", "Adam to NAG of twin"]
    assert found.note.endswith("\nAdam and Adam of twin are one point: no line.")
    assert set(found.looks) >= {name for line in found.lines.values() for name in line.marks}


def test_a_line_to_a_run_that_trained_on_the_test_samples_has_no_test_loss(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    text = (other / "config.toml").read_text()
    (other / "config.toml").write_text(text.replace("\nseed = 0\n", "\nseed = 1\n"))  # and so is the split
    held = json.loads((other / "environment.json").read_text())
    (other / "environment.json").write_text(json.dumps({**held, "data": {}}))
    found = between(folder, Choice(other=other))
    assert {name for line in found.lines.values() for name in line.losses} == {"train loss"}
    assert found.note.startswith("Train loss of 1,347 samples.\n")
    assert "No test loss: other has other data, or another split of them" in found.note


def test_an_optimizer_may_be_called_as_the_start_is(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    text = (copy / "config.toml").read_text()
    (copy / "config.toml").write_text(text.replace('name = "NAG"', 'name = "start"'))
    found = between(copy)
    assert list(found.lines)[:2] == ["the start to start", "start to heavy ball"]
    assert list(found.lines["the start to start"].marks) == [found.start, "start"]


def test_a_line_to_another_model_or_from_no_optimizer_is_refused(folder, tmp_path, capsys):
    other = shutil.copytree(folder, tmp_path / "other") / "config.toml"
    other.write_text(other.read_text().replace('"relu"', '"tanh"'))
    for asked, said in (
        (
            ["--with", str(tmp_path / "other")],
            "of another loss (model.activation, there tanh, here relu); give runs of",
        ),
        (["--with", str(tmp_path / "other"), "--problem", "digits"], "model.activation"),
        (["--optimizer", "Nadam"], "--optimizer: 'Nadam' is none of this run's; it has NAG, heavy ball"),
        (["--with", str(tmp_path)], "holds no run"),
    ):
        assert main(["figure", str(folder), "cuts", *asked]) == 2
        assert said in capsys.readouterr().err
