"""A run from its config to its folder, for real and small."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from nagviz.cli import main
from nagviz.landscape import load_slice

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SMALL = ["steps=20", "every=2", "slice.grid=5", "training.batch_size=32", "model.hidden=[8]"]
FILES = {
    "config.toml",
    "curves.png",
    "page.html",
    "environment.json",
    "landscape.pdf",
    "landscape.png",
    "metrics.jsonl",
    "paths",
    "report.html",
    "report.md",
    "results.csv",
    "results.md",
    "slices",
}


def run(folder, *settings, experiment="digits", flags=()):
    words = [word for setting in settings for word in ("--set", setting)]
    return main(["run", str(EXPERIMENTS / f"{experiment}.toml"), "--out", str(folder), *words, *flags])


def results(folder):
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def contents(folder):
    """Every file, its time included: a file that was written anew differs."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [(path, path.stat().st_mtime_ns, path.read_bytes()) for path in files]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    assert run(folder, *SMALL) == 0
    return folder


def test_a_run_writes_its_figures_tables_and_config(digits):
    assert {path.name for path in digits.iterdir()} == FILES
    assert (digits / "landscape.pdf").read_bytes().startswith(b"%PDF")
    assert (digits / "landscape.png").read_bytes().startswith(b"\x89PNG")


def test_every_optimizer_starts_from_one_point_and_ends_in_the_table(digits):
    lines = [json.loads(line) for line in (digits / "metrics.jsonl").read_text().splitlines()]
    starts = {line["train loss"] for line in lines if line["step"] == 0}
    names = [row["optimizer"] for row in results(digits)]
    assert names == ["NAG", "heavy ball", "SGD", "Adam", "Adagrad"]
    assert len(starts) == 1
    for row in results(digits):
        last = [line for line in lines if line["optimizer"] == row["optimizer"]][-1]
        assert last["step"] == 20
        assert float(row["train loss"]) == pytest.approx(last["train loss"])
        assert float(row["test accuracy"]) == pytest.approx(last["test accuracy"])
        assert float(row["train loss"]) < starts.copy().pop()


def test_the_slice_is_of_the_loss_that_the_paths_have(digits):
    """No value on a plane through the paths lies far under the best end of them."""
    cut = load_slice(digits / "slices" / "0.zarr")
    assert cut.values.shape == (5, 5)
    assert "1,347 samples" in cut.quantity
    assert all("% of path variance" in label for label in cut.labels)


def test_the_resolved_config_runs_again_to_the_same_numbers(digits, tmp_path, capsys):
    assert main(["run", str(digits / "config.toml"), "--out", str(tmp_path / "again")]) == 0
    again = results(tmp_path / "again")
    for row, other in zip(results(digits), again, strict=True):
        assert {**row, "seconds": ""} == {**other, "seconds": ""}
    assert (digits / "landscape.png").read_bytes() == (tmp_path / "again/landscape.png").read_bytes()
    out, err = capsys.readouterr()
    assert "| NAG " in out
    assert "\x1b" not in out + err
    assert "digits: slice" in err


def test_a_finished_path_is_kept_on_resume_and_a_missing_one_trained_again(digits, capsys):
    before = results(digits)
    kept = contents(digits / "paths" / "0-1.zarr")
    shutil.rmtree(digits / "paths" / "0-0.zarr")
    (digits / "results.csv").unlink()
    assert run(digits, *SMALL, flags=["--resume"]) == 0
    assert contents(digits / "paths" / "0-1.zarr") == kept
    for row, other in zip(before, results(digits), strict=True):
        assert {**row, "seconds": ""} == {**other, "seconds": ""}
    assert "heavy ball (kept)" in capsys.readouterr().err


def test_a_folder_in_use_is_never_overwritten_silently(digits, tmp_path, capsys):
    assert run(digits, *SMALL) == 2
    error = capsys.readouterr().err
    assert "--resume" in error
    assert "--overwrite" in error
    assert run(digits, *SMALL, "seed=1", flags=["--resume"]) == 2
    error = capsys.readouterr().err
    assert "seed: there 0, asked for 1" in error
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "chapter.tex").write_text("years of work")
    for flags in ([], ["--overwrite"], ["--resume"]):
        assert run(foreign, *SMALL, flags=flags) == 2
        assert [path.name for path in foreign.iterdir()] == ["chapter.tex"]


def test_overwrite_leaves_what_a_run_did_not_write(tmp_path):
    bowl = "functions=[{kind='quadratic', start=[1.0, 1.0], x=[-2.0, 2.0], y=[-2.0, 2.0]}]"
    settings = [bowl, "steps=4", "slice.grid=5", "optimizers=[{kind='nag', learning_rate=1e-3}]"]
    folder = tmp_path / "run"
    assert run(folder, *settings, experiment="rosenbrock") == 0
    (folder / "notes.txt").write_text("mine")
    assert run(folder, *settings, experiment="rosenbrock", flags=["--overwrite"]) == 0
    assert {path.name for path in folder.iterdir()} == FILES | {"notes.txt"}


def test_a_batch_larger_than_the_data_is_refused_and_nothing_is_written(tmp_path, capsys):
    assert run(tmp_path / "run", *SMALL, "training.batch_size=1348") == 2
    assert "training.batch_size: must be at most the 1347 training samples" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(tmp_path / "file" / "run", *SMALL) == 2
    assert "--out" in capsys.readouterr().err


def test_divergence_is_told_with_its_step_and_the_others_are_drawn(tmp_path, capsys):
    folder = tmp_path / "run"
    assert run(folder, *SMALL, "optimizers.2.learning_rate=1e20") == 0
    row = results(folder)[2]
    assert row["optimizer"] == "SGD"
    assert row["train loss"] == "nan"
    assert row["note"].startswith("diverged at step ")
    assert f"SGD {row['note']}" in capsys.readouterr().err
    assert [r["note"] for r in results(folder)].count("") == 4
    assert np.isfinite(load_slice(folder / "slices" / "0.zarr").values).all()
    assert "NaN" not in (folder / "metrics.jsonl").read_text()


def test_a_run_in_which_all_diverge_still_ends_with_its_table(tmp_path, capsys):
    folder = tmp_path / "run"
    rivals = "optimizers=[{kind='sgd', learning_rate=1e30}, {kind='nag', learning_rate=1e30}]"
    assert run(folder, *SMALL, rivals) == 0
    assert "every optimizer diverged" in capsys.readouterr().err
    assert len(results(folder)) == 2
    assert not (folder / "landscape.png").exists()
    assert (folder / "curves.png").exists()


def test_functions_of_two_parameters_are_raced_on_the_whole_space(tmp_path, capsys):
    folder = tmp_path / "run"
    assert run(folder, "steps=20", "functions.2.steps=20", "slice.grid=5", experiment="rosenbrock") == 0
    rows = results(folder)
    assert {row["problem"] for row in rows} == {"rosenbrock", "beale", "quadratic", "rastrigin"}
    assert len(rows) == 20
    cut = load_slice(folder / "slices" / "0.zarr")
    x, y = np.meshgrid(cut.x, cut.y)
    np.testing.assert_allclose(cut.values, (1 - x) ** 2 + 100 * (y - x**2) ** 2, rtol=1e-5)
    assert "| rastrigin  | Adagrad" in capsys.readouterr().out
