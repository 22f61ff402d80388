"""Every public name is found by help(), and the reference page says what the code says."""

import inspect
import re
from importlib import import_module

import pytest

import nagviz
from nagviz import reference

ROOMS = ("optim", "landscape", "figures")


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_found_by_help(room):
    module = import_module(f"nagviz.{room}")
    assert module.__doc__
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isroutine(inspect.unwrap(value)):
            said = value.__doc__
            assert said, name
            assert not said.startswith(f"{name}("), name  # what a NamedTuple or a dataclass says of itself
            assert said.strip().splitlines()[0].endswith((".", ":", "?")), name
    assert set(module.__all__) <= set(dir(module))
    if room != "figures":
        assert set(module.__all__) <= set(dir(nagviz))


def test_the_reference_page_is_that_of_the_code():
    made = reference.page()
    assert reference.PAGE.read_text(encoding="utf-8") == made, "python -m nagviz.reference writes it again"


def test_the_reference_page_has_every_name_and_every_command_once_and_its_links_lead_to_them():
    text = reference.PAGE.read_text(encoding="utf-8")
    headings = re.findall(r"^#{2,3} (.+)$", text, re.M)
    for room in ROOMS:
        names = [f"nagviz.{room}.{name}" for name in import_module(f"nagviz.{room}").__all__]
        assert [heading for heading in headings if heading.startswith(f"nagviz.{room}.")] == names
    assert {f"nagviz {name}" for name in reference.COMMANDS} <= set(headings)
    anchors = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    links = re.findall(r"\]\(#([^)]+)\)", text)
    assert len(links) > 100
    assert set(links) <= set(anchors)
