"""Figures are drawn from what a run's folder keeps, and its contents are told in words."""

import errno
import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from nagviz.cli import main
from nagviz.experiment import drawing, report
from nagviz.landscape import Projection, Slice, load_slice, save_vts

CONFIG = """\
# Who falls off?
name = "odd"
steps = 6
every = 2
slice.grid = 3
family.condition_number = 50
optimizers = [
  { kind = "nag", learning_rate = 1e-3, restart = { kind = "periodic", period = 3 } },
  { kind = "sgd", learning_rate = 1e20 },
]
functions = [
  { kind = "rosenbrock", start = [-1.5, 2.0], x = [-2.0, 2.0], y = [-1.0, 3.0] },
  { kind = "quadratic", start = [-1.5, 2.0], x = [-2.0, 2.0], y = [-1.0, 3.0], learning_rates = { SGD = 1e-3 } },
]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    (folder / "odd.toml").write_text(CONFIG)
    assert main(["run", str(folder / "odd.toml"), "--out", str(folder / "odd")]) == 0
    return folder / "odd"


@pytest.fixture
def folder(made, tmp_path):
    """A copy to do harm to."""
    shutil.copytree(made, tmp_path / "odd")
    return tmp_path / "odd"


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_figure_drawn_again_is_the_run_s_own_to_the_byte(folder, tmp_path, capsys):
    shutil.rmtree(folder / "paths")  # nothing is trained, and no path is read
    assert main(["figure", str(folder), "--out", str(tmp_path / "again")]) == 0
    files = [f"{name}.{suffix}" for name in ("landscape", "family") for suffix in ("png", "pdf")]
    files += ["curves.png", "page.html", "report.html", "report.md"]
    assert sorted(capsys.readouterr().out.split()) == sorted(str(tmp_path / "again" / name) for name in files)
    for name in files[:-1]:  # which links the figures from where it lies
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_a_figure_is_written_in_the_formats_and_the_width_asked_for(folder, capsys):
    assert main(["figure", str(folder), "family", "--format", "svg", "--format", "pdf", "--width", "6"]) == 0
    assert capsys.readouterr().out.split() == [str(folder / "family.svg"), str(folder / "family.pdf")]
    assert 'width="432pt"' in (folder / "family.svg").read_text()


def test_every_figure_carries_the_fingerprint_of_its_run(folder, tmp_path):
    of_run = report.identity(folder).fingerprint
    assert main(["figure", str(folder), "family", "--format", "svg"]) == 0
    for name in ("landscape.png", "landscape.pdf", "curves.png", "family.svg"):
        assert f"nagviz run, SHA-256 {of_run}".encode() in (folder / name).read_bytes()
        assert f"{name[:-4]} of odd".encode() in (folder / name).read_bytes()
    (folder / "results.md").write_text("not what it is of")
    assert report.identity(folder).fingerprint == of_run
    shutil.copytree(folder, tmp_path / "moved")
    assert report.identity(tmp_path / "moved").fingerprint == of_run
    facts = json.loads((folder / "environment.json").read_text())
    (folder / "environment.json").write_text(json.dumps({**facts, "data": {"digits": "another"}}))
    assert report.identity(folder).fingerprint != of_run
    one, other = ({**facts, "code": {"model.function": digest * 64}} for digest in "ab")
    fingerprints = []
    for held in (one, other):
        (folder / "environment.json").write_text(json.dumps(held))
        fingerprints.append(report.identity(folder).fingerprint)
    assert len({of_run, *fingerprints}) == 3
    with (tmp_path / "moved" / "config.toml").open("a") as file:
        file.write("seed = 1\n")
    assert report.identity(tmp_path / "moved").fingerprint != of_run


def test_what_nobody_named_is_drawn_where_it_can_be_as_asked(folder, tmp_path, capsys):
    for words, files in (
        (["--format", "svg"], ["curves.svg", "family.svg", "landscape.svg"]),
        (["--format", "html"], ["page.html", "report.html"]),
        (["--width", "5"], ["curves.png", "family.pdf", "family.png", "landscape.pdf", "landscape.png"]),
    ):
        assert main(["figure", str(folder), "--out", str(tmp_path / words[1]), *words]) == 0
        assert sorted(file.name for file in (tmp_path / words[1]).iterdir()) == files
    capsys.readouterr()


def test_a_page_is_of_all_problems_and_says_of_which_run(folder):
    made = (folder / "page.html").read_text(encoding="utf-8")
    scenes = json.loads(made.partition('id="data">')[2].partition("</script>")[0])["scenes"]
    assert [scene["title"] for scene in scenes] == list(PROBLEMS)
    assert [[curve["label"] for curve in scene["curves"]] for scene in scenes] == [["loss", "distance to minimum"]] * 2
    assert [scene["note"] for scene in scenes] == ["SGD diverged at step 1", ""]
    assert '<p id="question">Who falls off?</p>' in made
    assert f'<meta name="fingerprint" content="{report.identity(folder).fingerprint[:12]}">' in made
    before = report.identity(folder)
    (folder / "config.toml").write_text((folder / "config.toml").read_text() + "# other\n")
    assert report.identity(folder) != before


def test_a_figure_of_one_problem_of_several_says_which_it_is(folder):
    field, surface = (draw(folder, {"problem": "rosenbrock"}) for draw in (drawing.field, drawing.surface))
    moving = drawing.animation(folder, {"problem": "rosenbrock"})
    assert field.axes[0].get_title() == surface.get_suptitle() == "rosenbrock"
    assert moving.figure.axes[0].get_title(loc="left") == "rosenbrock"
    said = [text.get_text() for text in drawing.compare(folder, {}).findobj(Text)]
    assert "quadratic: f(x, y)" in said
    step = drawing.step(folder, {"at": 3, "problem": "rosenbrock"})
    assert step.axes[0].get_title() == "NAG, step 3"
    assert any("rosenbrock: f(x, y)" in text.get_text() for text in step.texts)


def test_look_ahead_points_that_a_run_keeps_are_drawn(folder, capsys):
    file = folder / "slices" / "0.zarr"
    picture = drawing.read_picture(file)
    field = drawing.field(folder, {"problem": "rosenbrock"})
    assert "no look-ahead is drawn" in capsys.readouterr().err  # of every second step, iterates do not tell it
    assert "is drawn" not in field.texts[0].get_text()
    drawing.keep_picture(file, picture._replace(ahead={"NAG": picture.seen["NAG"].coordinates + 0.5}))
    field = drawing.field(folder, {"problem": "rosenbrock"})
    assert "looks ahead to" in field.texts[0].get_text()
    assert capsys.readouterr().err == ""
    assert len(re.findall(r'"ahead":"', drawing.page(folder, {}).html)) == 1
    assert drawing.animation(folder, {"problem": "rosenbrock"}).movers["NAG"].lookahead is not None


@pytest.mark.parametrize("width", drawing.WIDTHS)
def test_every_figure_has_room_in_the_least_and_in_the_largest_width(folder, width, capsys):
    assert main(["figure", str(folder), "--format", "svg", "--width", f"{width:g}"]) == 0
    for file in capsys.readouterr().out.split():
        assert f'width="{72 * width:g}pt"' in Path(file).read_text()


def test_metrics_say_which_steps_restarted_and_at_which_one_a_trial_was_lost(folder):
    held = rows(folder)
    of = {(p, o): [r for r in held if (r["problem"], r["optimizer"]) == (p, o)] for p in PROBLEMS for o in RIVALS}
    assert [r["step"] for r in of["rosenbrock", "NAG"] if "restarted" in r] == [4, 6]
    assert not any("diverged" in r for r in of["rosenbrock", "NAG"] + of["quadratic", "SGD"])
    assert [r.get("diverged") for r in of["rosenbrock", "SGD"]][-1] == 1
    shown = drawing._shown(folder)
    steps, values, marks = drawing._series([shown["rosenbrock"]["NAG"]], "loss")
    assert (steps.tolist(), marks.tolist()) == ([0, 2, 4, 6], [4, 6])
    assert np.isfinite(values).all()
    assert drawing._lost(shown) == "SGD diverged at step 1 of rosenbrock"


PROBLEMS, RIVALS = ("rosenbrock", "quadratic"), ("NAG", "SGD")


def test_of_several_trials_the_chosen_rates_first_seed_is_shown(tmp_path):
    trials = [(rate, seed) for rate in (0.1, 0.2) for seed in (5, 6)]
    lines = [
        {"optimizer": "NAG", "learning_rate": rate, "seed": seed, "step": step, "loss": rate + seed}
        for rate, seed in trials
        for step in (0, 4)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (tmp_path / "results.csv").write_text("optimizer,learning rate,loss\nNAG,0.2,5.2\n")
    (shown,) = drawing._shown(tmp_path).values()
    assert [(row["step"], row["loss"]) for row in shown["NAG"]] == [(0, 5.2), (4, 5.2)]


def test_of_several_seeds_the_mean_and_spread_are_drawn_as_far_as_all_of_them_go(tmp_path):
    lines = [
        {"optimizer": "NAG", "seed": seed, "step": step, "loss": None if (seed, step) == (1, 4) else seed + step}
        for seed, last in ((0, 8), (1, 12), (2, 12))
        for step in range(0, last + 1, 4)
    ]
    lines[2]["diverged"] = 9
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (tmp_path / "results.csv").write_text("optimizer,loss\nNAG,5.2\n")
    (tmp_path / "environment.json").write_text("{}")
    trials = drawing._trials(tmp_path)
    steps, mean, marks, spread = drawing._series(list(trials[None]["NAG"].values()), "loss")
    assert steps.tolist() == [0, 4, 8, 12]
    np.testing.assert_array_equal(mean, [1, np.nan, 9, np.nan])
    np.testing.assert_array_equal(spread, [1, np.nan, 1, np.nan])
    assert not marks.size
    assert drawing._first_of(trials) == "The paths are those of the first of 3 seeds."
    assert drawing._first_of({None: {"NAG": {0: []}}}) is None
    figure = drawing.curves(tmp_path, {})
    said = " ".join(word for text in figure.texts for word in text.get_text().split())
    assert "NAG (seed 0) diverged at step 9 Mean, and a band of one standard deviation, over 3 seeds." in said


def test_what_is_kept_of_a_picture_comes_back(tmp_path):
    cut = Slice(np.arange(3.0), np.arange(2.0), np.array([[1.0, np.inf, 0.5], [2.0, np.nan, 1.0]]), ("a", "b"), "loss")
    path = Projection(np.array([[0.0, 0.1], [2.0, 1.0]]), np.array([0.5, 0.0]), np.array([0, 4]), None, (0.7, 0.2))
    whole = drawing.Picture("a/b", cut, {"a (b)": path, "c": path}, {"c": 0.25}, (0.6, 0.2))
    drawing.keep_picture(tmp_path / "0.zarr", whole)
    again = drawing.read_picture(tmp_path / "0.zarr")
    assert (again.title, again.ends, list(again.seen)) == ("a/b", {"c": 0.25}, ["a (b)", "c"])
    assert tuple(again.walk) == (0.6, 0.2)
    np.testing.assert_equal(again.seen["c"]._asdict(), path._asdict())
    np.testing.assert_equal(again.cut.values, load_slice(tmp_path / "0.zarr").values)


def test_a_slice_that_misreads_the_loss_is_told_by_direction_and_factor():
    cut = Slice(np.arange(3.0), np.arange(3.0), np.full((3, 3), 6.0), ("a", "b"), "loss")
    off = Projection(np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([0.0, 1.0]), np.arange(2))
    on = off._replace(residual=np.zeros(2))
    seen, true = {"far": off, "deep": off, "near": on, "true": off}, {"far": 2, "deep": 2400, "near": 2, "true": 6}
    said = drawing._misread(drawing.Picture("", cut, seen, true))
    assert said == "At the ends of the paths the slice reads the loss too high: far \u00d73; too low: deep \u00f7400."


def test_a_slice_is_offered_by_the_name_of_its_figure(folder, capsys):
    """Rosenbrock's landscape is missing, as where all diverge."""
    shutil.rmtree(folder / "slices" / "0.seen.zarr")
    assert main(["slice", str(folder), "--grid", "3"]) == 0
    assert str(folder / "slice-1-pca-3.png") in capsys.readouterr().out
    before = (folder / "slice-1-pca-3.png").read_bytes()
    (folder / "slice-1-pca-3.png").unlink()
    assert main(["figure", str(folder), "slice-1-pca-3", "--format", "png"]) == 0
    assert (folder / "slice-1-pca-3.png").read_bytes() == before


def test_optimizers_and_runs_are_compared_when_asked(folder, tmp_path, capsys):
    assert main(["figure", str(folder), "compare", "--format", "svg"]) == 0
    assert capsys.readouterr().out.split() == [str(folder / "compare.svg")]
    assert ">SGD</text>" in (folder / "compare.svg").read_text()
    shutil.copytree(folder, tmp_path / "other")
    assert main(["figure", str(folder), "compare", "--with", str(tmp_path / "other"), "--format", "svg"]) == 0
    both = (folder / "compare.svg").read_text()
    assert both.count(">odd</text>") == both.count(">other</text>") == 1
    shutil.copytree(folder, tmp_path / "more" / "odd")
    assert main(["figure", str(folder), "compare", "--with", str(tmp_path / "more" / "odd"), "--format", "svg"]) == 0
    assert ">more/odd</text>" in (folder / "compare.svg").read_text()
    assert main(["figure", str(folder), "compare", "--with", str(folder)]) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["map"], "offers no figure 'map'; it has landscape, page, curves, family, report, step, field, surface"),
        (
            ["curves", "--with", "odd"],
            "--with does nothing to curves: it is of compare, cuts; leave it out, or name that",
        ),
        (["compare", "--with", "nowhere"], "nowhere holds no run"),
        (["landscape", "--format", "gif"], "--format gif: landscape has png, pdf, svg"),
        (["--format", "bmp"], "invalid choice: 'bmp'"),
        (["page", "--format", "png"], "--format png: page has html"),
        (["page", "--width", "5"], "--width does nothing to page"),
        (["surface", "--width", "5", "--format", "vts"], "--width does nothing to surface.vts, which has no size"),
        (["surface", "--width", "5", "--format", "png", "--format", "html"], "--width does nothing to surface.html"),
        (["--width", "0"], "must be a positive number, got 0"),
        (["--width", "1e6"], "--width: must be from 2 to 40 inches, got 1e+06"),
        (["--width", "0.01"], "--width: must be from 2 to 40 inches, got 0.01"),
        (["--out", "odd/config.toml"], "name another folder by --out"),
    ],
)
def test_what_cannot_be_drawn_is_refused(folder, capsys, monkeypatch, words, said):
    monkeypatch.chdir(folder.parent)
    assert main(["figure", "odd", *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "figure"),
    [("metrics.jsonl", "curves"), ("slices/1.seen.zarr/zarr.json", "landscape"), ("family.json", "family")],
)
def test_a_damaged_file_is_named_with_what_writes_it_anew(folder, capsys, file, figure):
    (folder / file).write_text('{"half')
    assert main(["figure", str(folder), figure]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert file.split("/zarr.json")[0] in line
    assert "--resume writes it anew" in line


def test_a_folder_that_is_no_run_is_refused(tmp_path, capsys):
    for command in ("figure", "show"):
        assert main([command, str(tmp_path)]) == 2
        assert "holds no run" in capsys.readouterr().err


def test_a_run_is_told_with_its_config_its_results_and_every_file(folder, capsys):
    (folder / "notes.txt").write_text("mine")
    assert main(["show", str(folder)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Who falls off?\n")
    for said in (
        "state: finished",
        "optimizers.1: sgd, learning_rate = 1e+20",
        "condition_number = 50",
        "jax: ",
        "python: ",
    ):
        assert said in out
    assert (folder / "results.md").read_text() in out
    for file in ("landscape.pdf", "paths/1-1.zarr", "slices/0.seen.zarr", "config.toml"):
        (line,) = (line for line in out.splitlines() if line.split()[:1] == [file])
        assert "not known" not in line
    assert ["notes.txt", "4", "B", "not", "known", "to", "nagviz"] in map(str.split, out.splitlines())


def test_a_run_that_is_not_finished_is_told_how_to_go_on(folder, capsys):
    (folder / "curves.png").unlink()
    assert main(["show", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "state: not finished, 4 paths are complete" in out
    (line,) = (line.split()[1:] for line in out.splitlines() if line.startswith("  nagviz run"))
    assert main(line) == 0
    assert (folder / "curves.png").is_file()


def test_a_damaged_folder_is_told_as_far_as_it_goes(folder, capsys):
    (folder / "config.toml").write_text("steps = ")
    (folder / "environment.json").write_text("{")
    (folder / "results.md").write_bytes(b"| \xff |")
    assert main(["show", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "config.toml:1: is not TOML" in out
    assert "environment.json is damaged" in out
    assert "results.md is damaged" in out


ON_DEMAND = ("step", "field", "surface", "compare", "cuts", "animation")


def test_what_is_drawn_on_demand_only_is_told_and_drawn_by_name(folder, tmp_path, capsys):
    assert not any(folder.glob("animation.*"))
    assert main(["show", str(folder)]) == 0
    assert f"on demand: nagviz figure {folder} {' | '.join(ON_DEMAND)}\n" in capsys.readouterr().out
    words = ["surface", "field", "--problem", "rosenbrock", "--out", str(tmp_path), "--format", "png"]
    assert main(["figure", str(folder), *words]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "surface.png"), str(tmp_path / "field.png")]
    assert main(["figure", str(folder), "animation", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "animation.gif").read_bytes().startswith(b"GIF89a")
    assert main(["show", str(folder)]) == 0
    assert "state: finished" in capsys.readouterr().out


def test_lines_go_between_the_solutions_of_a_problem_that_did_not_diverge(folder, capsys):
    words = ["cuts", "--problem", "rosenbrock", "--format", "svg"]
    assert main(["figure", str(folder), *words]) == 0
    told = (folder / "cuts.svg").read_text()
    assert all(
        f">{said}</text>" in told for said in ("start to NAG", "f(x, y)", "Diverged, and so without a line: SGD.")
    )
    assert main(["figure", str(folder), *words, "--optimizer", "SGD"]) == 2
    assert "--optimizer: SGD diverged and has no solution; NAG have" in capsys.readouterr().err


def test_lines_to_another_run_are_of_the_problem_that_is_asked_for(folder, tmp_path, capsys):
    other = shutil.copytree(folder, tmp_path / "other") / "config.toml"
    words = ["figure", str(folder), "cuts", "--with", str(other.parent), "--format", "svg"]
    assert main([*words, "--problem", "rosenbrock"]) == 0
    assert "NAG and NAG of other are one point: no line." in (folder / "cuts.svg").read_text()
    other.write_text(other.read_text().replace("= 100.0", "= 9.0"))
    assert main(words) == 2
    assert "(condition_number, there 9.0, here 100.0)" in capsys.readouterr().err
    other.write_text(other.read_text().replace('"rosenbrock"', '"beale"'))
    assert main([*words, "--problem", "rosenbrock"]) == 2
    assert "--problem: 'rosenbrock' is none of other's; it has beale, quadratic" in capsys.readouterr().err


def test_a_surface_is_written_for_paraview(folder):
    assert main(["figure", str(folder), "surface", "--format", "vts"]) == 0
    cut = load_slice(folder / "slices" / "1.zarr")
    save_vts(folder / "again.vts", cut)
    assert (folder / "surface.vts").read_bytes() == (folder / "again.vts").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["landscape", "--at", "3"], "--at does nothing to landscape: it is of step; leave it out, or name that"),
        (["--at", "3"], "--at does nothing to landscape, page, curves, family, report: it is of step"),
        (["family", "--problem", "quadratic"], "it is of step, field, surface, cuts, animation"),
        (["animation", "--format", "pdf"], "--format pdf: animation has gif, png, mp4"),
        (["surface", "--format", "gif"], "--format gif: surface has png, pdf, svg, html, vts"),
        (["field", "--problem", "bowl"], "--problem: 'bowl' is none of this run's; it has rosenbrock, quadratic"),
        (["step", "--at", "0"], "must be a whole number of at least 1, got 0"),
    ],
)
def test_an_option_or_format_that_a_figure_has_no_use_for_is_refused(folder, words, said, capsys):
    assert main(["figure", str(folder), *words]) == 2
    assert said in capsys.readouterr().err


def test_html_without_plotly_is_refused_with_what_to_install(folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    assert main(["figure", str(folder), "surface", "--format", "html"]) == 2
    assert capsys.readouterr().err == "a surface as HTML is drawn by plotly: pip install 'nagviz[plotly]'\n"
    assert not (folder / "surface.html").exists()


def test_a_disk_that_is_full_when_a_run_is_drawn_loses_no_training(folder, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (folder.parent / "odd.toml").write_text(CONFIG)
    again = ["run", str(folder.parent / "odd.toml"), "--out", str(folder), "--resume"]
    with monkeypatch.context() as patch:
        patch.setattr(Figure, "savefig", full)
        assert main(again) == 2
        said = capsys.readouterr().err
        assert f"No space left on device\nmake room or give access; what is done is kept: nagviz run {folder}" in said
        assert "name another folder" not in said
        assert main(["slice", str(folder), "--grid", "3"]) == 2
        assert "No space left on device; make room or give access\n" in capsys.readouterr().err
        assert main(["figure", str(folder), "landscape"]) == 2
        assert "make room or give access, or name another folder by --out" in capsys.readouterr().err
    assert main(again) == 0
