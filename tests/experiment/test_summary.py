"""One page of a run: everything a colleague asks for, in one file, whatever the run's words are."""

import base64
import json
import re
from html.parser import HTMLParser
from io import BytesIO
from urllib.parse import unquote

import pytest
from PIL import Image

from nagviz.cli import main
from nagviz.experiment import summary

HOSTILE = '<script>1</script>&"|`y`![z](http://a)'
CONFIG = f"""\
# Is {HOSTILE} escaped?
name = "odd"
steps = 4
every = 2
slice.grid = 3
optimizers = [
  {{ kind = "nag", name = {json.dumps(HOSTILE)}, learning_rate = 1e-3 }},
  {{ kind = "sgd", learning_rate = 1e20 }},
]
functions = [{{ kind = "rosenbrock", start = [-1.5, 2.0], x = [-2.0, 2.0], y = [-1.0, 3.0] }}]
# Expected: {HOSTILE} is.
"""
LOST = CONFIG.replace("1e-3", "1e19")
VOID = {"meta", "link", "img"}


class Read(HTMLParser):
    """What a browser would see: elements, their texts, and whether every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.texts.append((self.open[-1] if self.open else "", text))

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def said(self, tag):
        return [text for name, text in self.texts if name == tag]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, config in {"odd": CONFIG, "lost": LOST}.items():
        (folder / f"{name}.toml").write_text(config)
        assert main(["run", str(folder / f"{name}.toml"), "--out", str(folder / name)]) == 0
    return folder


def test_the_page_has_all_that_a_colleague_asks_for_in_one_file(runs):
    page = Read((runs / "odd" / "report.html").read_text())
    assert page.said("h1") == ["odd"]
    assert page.said("p")[:2] == [f"Is {HOSTILE} escaped?", f"Expected: {HOSTILE} is."]
    assert page.said("h2") == ["Results", "Figures", "Data", "Run it again"]
    assert HOSTILE in page.said("td")
    assert "diverged" in "".join(page.said("td"))
    assert page.said("pre") == ["nagviz run odd.toml", (runs / "odd" / "config.toml").read_text()]
    facts = json.loads((runs / "odd" / "environment.json").read_text())
    assert {facts["jax"], facts["devices"][0], "0"} <= {*page.said("td")}


def test_the_page_s_figures_are_whole_images_with_words_for_who_cannot_see_them(runs):
    images = Read((runs / "odd" / "report.html").read_text()).of("img")
    assert [image["alt"].partition(":")[0] for image in images] == ["Landscape", "Curves"]
    for image, name in zip(images, ("landscape", "curves"), strict=True):
        kind, _, data = image["src"].partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data, validate=True) == (runs / "odd" / f"{name}.png").read_bytes()
        Image.open(BytesIO(base64.b64decode(data))).verify()
        assert HOSTILE in image["alt"]


def test_nothing_is_fetched_and_no_word_of_the_run_becomes_an_element(runs):
    text = (runs / "odd" / "report.html").read_text()
    page = Read(text)
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "iframe", "object", "base", "form", "a"})
    urls = [attributes[key] for _, attributes in page.elements for key in ("src", "href") if key in attributes]
    assert all(url.startswith("data:") for url in urls)
    assert "url(" not in text.partition("</style>")[0]
    (policy,) = (meta["content"] for meta in page.of("meta") if "http-equiv" in meta)
    assert "default-src 'none'" in policy


def test_the_page_is_read_by_day_by_night_and_on_a_phone(runs):
    style = (runs / "odd" / "report.html").read_text().partition("</style>")[0]
    day, _, night = style.partition("prefers-color-scheme:dark")
    assert re.search(r"--paper:#FFFFFF", day)
    assert re.search(r"--paper:#14191E", night)
    assert "max-width: 480px" in style
    assert 'name="viewport" content="width=device-width, initial-scale=1"' in style


def test_markdown_links_figures_that_exist_and_escapes_the_run_s_words(runs, tmp_path):
    for folder in (runs / "odd", tmp_path):
        assert main(["figure", str(runs / "odd"), "report", "--format", "md", "--out", str(folder)]) == 0
        text = (folder / "report.md").read_text()
        prose = re.sub(r"^(`{3,}).*?^\1$", "", text, flags=re.S | re.M)
        links = re.findall(r"(?<!\\)\]\(([^)]+)\)\n", prose)
        assert [(folder / unquote(link)).resolve().name for link in links] == ["landscape.png", "curves.png"]
        assert all((folder / unquote(link)).is_file() for link in links)
        assert not re.search(r"(?<!\\)<", prose)
        assert not re.search(r"(?<!\\)!?(?<!\\)\[z", prose)
        assert (runs / "odd" / "config.toml").read_text().rstrip() in text


def test_a_run_of_which_every_path_is_lost_is_told_all_the_same(runs):
    page = Read((runs / "lost" / "report.html").read_text())
    assert [image["alt"].partition(":")[0] for image in page.of("img")] == ["Curves"]
    assert sum("diverged" in text for text in page.said("td")) == 2
    assert "](curves.png)" in (runs / "lost" / "report.md").read_text()


def test_a_run_that_is_not_finished_has_no_report_and_is_told_how_to_go_on(runs, tmp_path, capsys):
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    for name in ("config.toml", "environment.json"):
        (unfinished / name).write_bytes((runs / "odd" / name).read_bytes())
    assert main(["figure", str(unfinished), "report"]) == 2
    assert f"nagviz show {unfinished} tells how to go on" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_damaged_facts_are_told(runs, tmp_path, capsys, text):
    for name in ("config.toml", "results.csv"):
        (tmp_path / name).write_bytes((runs / "odd" / name).read_bytes())
    (tmp_path / "environment.json").write_text(text)
    assert main(["figure", str(tmp_path), "report"]) == 2
    assert "environment.json is damaged" in capsys.readouterr().err


def test_the_same_run_gives_the_same_page(runs, tmp_path):
    assert main(["figure", str(runs / "odd"), "report", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "report.html").read_bytes() == (runs / "odd" / "report.html").read_bytes()


def test_the_data_are_told_with_their_source_their_licence_and_their_digest():
    held = {"data": {"digits": "4d91"}, "sources": {"digits": "UCI (CC BY 4.0)"}}
    (row,) = summary._data(None, held)
    assert row == {"problem": "digits", "source and licence": "UCI (CC BY 4.0)", "SHA-256": "4d91"}


def test_a_report_has_no_width(runs, capsys):
    assert main(["figure", str(runs / "odd"), "report", "--width", "4"]) == 2
    assert "--width does nothing to report" in capsys.readouterr().err


ODD = [
    {"optimizer": "随机梯度下降", "train loss": 1e-30, "train loss ±": 2e-31, "note": "x" * 40},
    {"optimizer": "Адам", "train loss": -1e30, "train loss ±": float("nan"), "note": None},
]


def test_any_numbers_and_names_are_told_and_how_a_grid_was_chosen_from_stands_behind_the_figures(tmp_path):
    tables = {"Results": ODD, summary.TABLES["grid"]: ODD}
    picture = summary.Picture(tmp_path / "landscape.png", "Landscape")
    made = summary.Summary("odd", "", "", tables, [picture], ODD[:1], {}, [], "", "")
    text = summary.markdown(made, tmp_path)
    assert re.findall(r"^## (.*)$", text, re.M)[:3] == ["Results", "Figures", summary.TABLES["grid"]]
    page = Read(summary.html(made._replace(pictures=[])))
    for cell in ("随机梯度下降", "Адам", "1e-30 ± 2e-31", "-1e+30 ± nan", "x" * 40):
        assert cell in text
        assert cell in page.said("td")
    assert [kind["class"] for kind in page.of("th")[:3]] == ["name", "number", "name"]  # the spread has no column
    assert text.count(summary.SPREAD) == page.said("p").count(summary.SPREAD) == 2
