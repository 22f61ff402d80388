"""One page that tells a run to a colleague: question, results, figures, data, configuration, and how to run it again.

What a run's folder keeps is read into a `Summary`, of plain words; as HTML it is one file that needs no other, as
Markdown it links the figures that lie beside it.
"""

from __future__ import annotations

import csv
import os
import re
import shlex
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from nagviz.experiment import report
from nagviz.experiment.config import ConfigError, load, own_code
from nagviz.experiment.report import Refusal, Row
from nagviz.experiment.tables.runs import Config
from nagviz.figures.hypertext import About, colors, document, filled

FORMATS = ("html", "md")
TABLES = {  # by the name of the file, what stands over it
    "results": "Results",
    "table": "The results by two keys of the optimizers",
    "grid": "The learning rates, and what chose among them",
    "targets": "Steps to the target loss",
    "noise": "The law of noise that grows with the gradient",
}
SPREAD = "± is one standard deviation over the seeds."
PIXEL = 0.6  # of a screen for one of a figure for print: its text is then as large as the page's
_WORDS = ("problem", "optimizer", "chosen", "note")  # columns that hold no numbers, whatever they look like


class Picture(NamedTuple):
    """A figure of the run."""

    file: Path
    told: str  # what is seen, for who cannot see it


class Summary(NamedTuple):
    """A run in words."""

    name: str
    question: str
    expected: str
    tables: Mapping[str, Sequence[Row]]  # by what stands over them
    pictures: Sequence[Picture]
    data: Sequence[Row]  # of each problem: where it comes from, licence and digest
    facts: Mapping[str, str]  # versions, devices and seeds
    again: Sequence[str]  # lines that run it again, from a file with its configuration
    config: str  # the whole of it, as TOML
    fingerprint: str

    def savefig(self, fname: Path) -> None:
        """Write it, as what the file's name ends in says."""
        text = markdown(self, fname.parent) if fname.suffix == ".md" else html(self)
        report.write(fname, text)


def summarise(folder: Path) -> Summary:
    """Read a run's folder.

    Raises:
        Refusal: the folder holds no run, or a damaged one.
    """
    file = report.require_run(folder)
    try:
        run = load(file)
    except ConfigError as error:
        raise Refusal(str(error)) from None
    held = report.read_facts(folder)
    return Summary(
        run.name,
        run.question,
        run.expected,
        tables={title: rows for name, title in TABLES.items() if (rows := _rows(folder / f"{name}.csv"))},
        pictures=_pictures(folder, [table.name for table in run.optimizers]),
        data=_data(run, held),
        facts={name: report.listed(value) for name, value in held.items() if name not in ("data", "sources")},
        again=_again(run, held.get("devices used", 1)),
        config=file.read_text(encoding="utf-8"),
        fingerprint=report.identity(folder).fingerprint[:12],
    )


def _rows(file: Path) -> list[Row]:
    """The rows of a table, numbers as numbers, without columns that are empty; none where there is no such file."""
    try:
        rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines(), strict=True))
        filled = [key for key in rows[0] if any(row[key] for row in rows)]
        return [{key: row[key] if key in _WORDS else _number(row[key]) for key in filled} for row in rows]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, LookupError, TypeError, csv.Error) as error:
        raise Refusal(f"{file} is damaged: {error!r}; nagviz run --resume writes it anew") from None


def _number(text: str) -> str | int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None


def _pictures(folder: Path, optimizers: Sequence[str]) -> list[Picture]:
    """The figures that lie in the folder, in the order in which a run's outputs are told."""
    whose = ", ".join(optimizers)
    return [
        Picture(file, f"{_title(file.stem)}: {what}. Optimizers: {whose}.")
        for pattern, what in report.OUTPUTS.items()
        if pattern.endswith(".png")
        for file in sorted(folder.glob(pattern))
    ]


def _title(stem: str) -> str:
    return stem[:1].upper() + stem[1:]


def _data(run: Config, held: Mapping) -> list[Row]:
    """Of each problem, what it is made of."""
    digests, sources = held.get("data", {}), held.get("sources", {})
    functions = [getattr(function, "name", None) or function.kind for function in getattr(run, "functions", ())]
    about = {name: "a function, given in closed form" for name in functions if name not in digests}
    about |= {name: sources.get(name, "source not recorded") for name in digests}
    return [
        {"problem": name, "source and licence": source, "SHA-256": digests.get(name)} for name, source in about.items()
    ]


def _again(run: Config, devices: int) -> list[str]:
    """For who has the page alone."""
    words = ["--devices", str(devices)] if devices > 1 else []
    words += ["--trust"] * any(own_code(run).values())
    return [shlex.join(["nagviz", "run", f"{run.name}.toml", *words])]


# As HTML.


def html(summary: Summary) -> str:
    """The page as one file; nothing is fetched, and every word of the run's is escaped."""
    about = About(summary.name, summary.question, summary.fingerprint)
    words = {**about._asdict(), "expected": summary.expected, "mark": about.mark}
    parts = {**{name: escape(text) for name, text in words.items()}, "body": "\n".join(_body(summary))}
    return document(about, f"{colors()}\n{_part('summary.css')}", filled(_part("summary.html"), parts))


def _part(name: str) -> str:
    return files("nagviz.experiment").joinpath(name).read_text(encoding="utf-8").rstrip("\n")


def _body(summary: Summary) -> Iterator[str]:
    told, later = _parted(summary.tables)
    yield from (line for table in told for line in _html_section(*table))
    if summary.pictures:
        yield "<h2>Figures</h2>"
        yield from map(_html_picture, summary.pictures)
    yield from (line for table in later for line in _html_section(*table))
    yield from ("<h2>Data</h2>", _html_table(summary.data))
    yield "<h2>Run it again</h2>"
    yield f"<p>Save the configuration below as <code>{escape(summary.name)}.toml</code>, then</p>"
    yield f"<pre>{escape(chr(10).join(summary.again))}</pre>"
    yield "<p>Versions, devices and seeds that these numbers are of:</p>"
    yield f'<div class="wide">{_html_facts(summary.facts)}</div>'
    yield f"<details open><summary>Configuration</summary>\n<pre>{escape(summary.config)}</pre></details>"


def _parted(tables: Mapping[str, Sequence[Row]]) -> tuple[list[tuple], list[tuple]]:
    """What stands before the figures, and the long table of how a grid was chosen from, which stands behind them."""
    last = TABLES["grid"]
    return [pair for pair in tables.items() if pair[0] != last], [pair for pair in tables.items() if pair[0] == last]


def _html_section(title: str, rows: Sequence[Row]) -> Iterator[str]:
    yield from (f"<h2>{title}</h2>", _html_table(rows))
    yield from (f'<p class="spread">{SPREAD}</p>' for _ in _spreads(rows)[:1])


def _html_table(rows: Sequence[Row]) -> str:
    numeric, rows = _numeric(rows), _with_spread(rows)

    def cell(tag, name, text):
        return f'<{tag} class="{"number" if name in numeric else "name"}">{escape(text)}</{tag}>'

    head = "".join(cell("th", name, name) for name in rows[0])
    body = "\n".join(
        f"<tr>{''.join(cell('td', name, report.readable(value)) for name, value in row.items())}</tr>" for row in rows
    )
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def _spreads(rows: Sequence[Row]) -> list[str]:
    """The columns that are the spread of another."""
    return [f"{name} ±" for name in rows[0] if f"{name} ±" in rows[0]]


def _with_spread(rows: Sequence[Row]) -> list[Row]:
    """Means and their spread in one column.

    Example:
        >>> _with_spread([{"loss": 1.23456, "loss ±": 0.0123}])
        [{'loss': '1.235 ± 0.012'}]
    """
    spreads = _spreads(rows)
    return [{name: _mean(row, name) for name in row if name not in spreads} for row in rows]


def _mean(row: Row, name: str) -> str | int | float | None:
    value, spread = row[name], row.get(f"{name} ±")
    return value if spread is None else f"{report.readable(value)} ± {spread:.2g}"


def _numeric(rows: Sequence[Row]) -> set[str]:
    """Columns of numbers, of which some may be missing."""
    kinds = {name: {type(row[name]) for row in rows} - {type(None)} for name in rows[0]}
    return {name for name, found in kinds.items() if found and found <= {int, float}}


def _html_picture(picture: Picture) -> str:
    image, told = picture.file.read_bytes(), escape(picture.told)
    wide = round(PIXEL * int.from_bytes(image[16:20], "big"))  # where a PNG says how wide it is
    source = f"data:image/png;base64,{b64encode(image).decode()}"
    return (
        f'<figure><img src="{source}" alt="{told}" style="max-width: {wide}px"><figcaption>{told}</figcaption></figure>'
    )


def _html_facts(facts: Mapping[str, str]) -> str:
    rows = "\n".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(x)}</td></tr>' for name, x in facts.items())
    return f'<table class="facts">\n{rows}\n</table>'


# As Markdown.


def markdown(summary: Summary, folder: Path) -> str:
    """The page as Markdown that lies in a folder, from which the figures are linked."""
    paragraphs = [f"# {_plain(summary.name)}", _plain(summary.question), _plain(summary.expected)]
    told, later = _parted(summary.tables)
    paragraphs += [part for table in told for part in _markdown_section(*table)]
    paragraphs += ["## Figures"] if summary.pictures else []
    for picture in summary.pictures:
        told = _plain(picture.told)
        paragraphs += [f"![{told}]({quote(Path(os.path.relpath(picture.file, folder)).as_posix())})", f"*{told}*"]
    paragraphs += [part for table in later for part in _markdown_section(*table)]
    paragraphs += ["## Data", _markdown_table(summary.data), "## Run it again"]
    paragraphs += [f"Save the configuration below as `{summary.name}.toml`, then", _fenced("\n".join(summary.again))]
    paragraphs += ["Versions, devices and seeds that these numbers are of:", _markdown_facts(summary.facts)]
    paragraphs += ["Configuration:", _fenced(summary.config.rstrip("\n"), "toml")]
    paragraphs += [f"run {summary.fingerprint} nagviz"]
    return "\n\n".join(filter(None, paragraphs)) + "\n"


def _markdown_section(title: str, rows: Sequence[Row]) -> list[str]:
    return [f"## {title}", _markdown_table(_with_spread(rows)), *(SPREAD for _ in _spreads(rows)[:1])]


def _plain(text: str) -> str:
    """Words that Markdown takes for nothing else.

    Example:
        >>> print(_plain("a_b <i> [x](y)"))
        a\\_b \\<i\\> \\[x\\](y)
    """
    return re.sub(r"([\\`*_\[\]<>#&])", r"\\\1", text)


def _markdown_table(rows: Sequence[Row]) -> str:
    told = [{_plain(k): _plain(x) if isinstance(x, str) else x for k, x in row.items()} for row in rows]
    return report.markdown(told)


def _markdown_facts(facts: Mapping[str, str]) -> str:
    return "\n".join(f"* {_plain(name)}: {_plain(value)}" for name, value in facts.items())


def _fenced(text: str, language: str = "") -> str:
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
