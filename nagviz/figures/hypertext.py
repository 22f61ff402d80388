"""An HTML file that needs no other and asks no network: what each begins with, and its colours by day and by night.

>>> made = document(About("A bowl", "How deep?"), "p { margin: 0; }", "<p>Two.</p>")
>>> made.startswith("<!doctype html>"), "<title>A bowl</title>" in made
(True, True)
"""

import re
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files
from typing import NamedTuple

from nagviz.figures import style


class About(NamedTuple):
    """What a page is about."""

    title: str = "Loss landscape"
    question: str = ""  # under the title
    fingerprint: str = ""  # of the run that it shows: in the footer, and as <meta name="fingerprint">

    @property
    def mark(self) -> str:
        """What stands at the foot of the page."""
        return "Made by nagviz" + (f" from run {self.fingerprint}." if self.fingerprint else ".")


def document(about: About, css: str, body: str, *, scripted: bool = False) -> str:
    """The whole file.

    Args:
        about: title, question and fingerprint, as words.
        css: its style, in which `var(--ink)` and its kin are those of `colors`.
        body: its body, as HTML.
        scripted: whether scripts in it may run.
    """
    parts = {
        **{name: escape(text) for name, text in about._asdict().items()},
        "scripts": " script-src 'unsafe-inline';" if scripted else "",
        "css": css,
        "body": body,
    }
    return filled(part("document.html"), parts) + "\n"


def filled(template: str, parts: Mapping[str, str]) -> str:
    """A template with `{{name}}` replaced by the part of that name; what a part holds is left as it is.

    >>> filled("<b>{{word}}</b>", {"word": "{{word}}"})
    '<b>{{word}}</b>'
    """
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


@cache
def part(name: str) -> str:
    """A file of the folder `browser`."""
    return files("nagviz.figures").joinpath("browser", name).read_text(encoding="utf-8").rstrip("\n")


def colors(more: Mapping[str, tuple[str, str]] = {}) -> str:
    """Custom properties such as `--ink`: by day, by night, and as the reader wishes.

    Args:
        more: further ones besides those of `style.SCREEN`, by name: by day and by night.
    """
    day, night = (";".join(f"--{name}:{pair[k]}" for name, pair in {**style.SCREEN, **more}.items()) for k in (0, 1))
    return "\n".join(
        [
            f":root{{color-scheme:light;--family:{style.SCREEN_FAMILY};{day}}}",
            f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{color-scheme:dark;{night}}}}}",
            f":root[data-theme=dark]{{color-scheme:dark;{night}}}",
        ]
    )
