"""The documentation site holds each card, recipe, command and public function."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

import synthzoo
from docs.generate_pages import figures, pages, site_place, turned_links
from synthzoo.cli import main
from synthzoo.generation.kinds.part import Part
from tests.extras import need
from tests.recipe_classes import CLASSES
from tests.test_pages import LINK, PAGES

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    """Return the pages that are made when the site is built."""
    need("griffe", "docs")
    return pages()


def test_each_model_has_a_page_with_its_facts_and_results(
    made: dict[str, str],
) -> None:
    """The page of a model holds what `synthzoo show` says: head, tables, citation."""
    for card in synthzoo.model_cards():
        page = made[f"models/{card.path.stem}.md"]
        assert page.startswith(f"# {card.name}\n\n| Fact | Value |\n")
        assert f"| name | {', '.join(card.names)} |\n" in page
        assert f"| parameters | {card.parameters:,} |\n" in page
        assert page.count(card.citation.strip()) == 1
        for result in card.results:
            assert f"| {result.data} | {result.structures} |" in page


def test_each_recipe_has_a_page_with_its_file(made: dict[str, str]) -> None:
    """A recipe is shown as it is."""
    for path in (ROOT / "recipes").glob("*.yaml"):
        assert path.read_text("utf-8") in made[f"recipes/{path.stem}.md"]


def test_each_section_of_a_recipe_has_its_keys_in_the_reference(
    made: dict[str, str],
) -> None:
    """Sections and what is in them are documented, with the defaults of their keys."""
    text = made["recipe-keys.md"]
    for cls in CLASSES:
        assert f"## {cls.section}\n" in text
    for each in (*CLASSES, *get_args(Part)):
        assert f"::: {each.__module__}.{each.__name__}\n" in text
    assert "\nkind: melt-quench\ntrajectories: …\n" in text
    assert '\nthermostat: "langevin"\n' in text


def test_each_command_has_its_usage_and_its_options(made: dict[str, str]) -> None:
    """Commands that `synthzoo -h` lists are in the reference, with all options."""
    sections = re.split(r"^### synthzoo ", made["commands.md"], flags=re.MULTILINE)
    shown = {section.splitlines()[0]: section for section in sections}
    for name, command in main.commands.items():
        options = [part.opts[-1] for part in command.params if part.opts[0][0] == "-"]
        assert all(option in shown[name] for option in options)
    assert "teachers test" in shown


def test_each_public_function_is_in_the_reference(made: dict[str, str]) -> None:
    """What the package offers is on the site, once, with what it returns."""
    reference = "".join(text for place, text in made.items() if "functions" in place)
    shown = set(re.findall(r"^::: synthzoo\.(\w+)$", reference, re.MULTILINE))
    assert reference.count("::: synthzoo.stability.verdict.Verdict\n") == 1
    public = {name for name in dir(synthzoo) if name[0] != "_"}
    assert shown == public - {"SynthzooError"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_repository_lead_to_pages_of_the_site(
    page: Path, made: dict[str, str]
) -> None:
    """A link that works on a code host works on the site."""
    source = str(page.relative_to(ROOT))
    turned = turned_links(page.read_text("utf-8"), source)
    folder = Path(site_place(source)).parent
    places = {*made, *map(site_place, figures())}
    places |= {
        str(own.relative_to(ROOT / "docs"))
        for own in ROOT.glob("docs/**/*")
        if own.suffix in {".md", ".png"}
    }
    for target, _ in LINK.findall(turned):
        if target:
            place = (ROOT / folder / target).resolve().relative_to(ROOT)
            assert str(place) in places, target
