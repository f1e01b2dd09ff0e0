"""README, docs/ and cards: the commands, options, recipes and files they name exist."""

from __future__ import annotations

import pkgutil
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

import synthzoo
from synthzoo.cli import main
from synthzoo.recipes.loading import find_recipe, parse_recipe
from tests.recipe_classes import SECTIONS

ROOT = Path(__file__).parents[1]
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [*GUIDES, ROOT / "CONTRIBUTING.md"] + [
    page
    for folder in ("model_cards", "recipes", "synthzoo")
    for page in sorted((ROOT / folder).rglob("*.md"))
    if page.parent.name != "templates"  # pages only when they are filled in
]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
CHECKED_TYPES = (
    click.Choice,
    click.IntRange,
    click.FloatRange,
    type(click.INT),
    type(click.FLOAT),
)

each_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: str(page.relative_to(ROOT))
)


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a page that are in a language."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [text for name, text in found if name == language]


def shell_commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of each synthzoo command in the shell blocks of a page."""
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.split("&&"):
                words = shlex.split(part, comments=True)
                if words[:1] == ["synthzoo"]:
                    yield words[1:]


def inline_code(page: Path) -> list[list[str]]:
    """Return the words of each piece of code in the running text of a page."""
    prose = BLOCK.sub("", page.read_text(encoding="utf-8"))
    return [code.split() for code in re.findall(r"`([^`]+)`", prose)]


def inline_commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of what reads `synthzoo md …`, or `md --json` without it."""
    for words in inline_code(page):
        if words[0] == "synthzoo":
            yield words[1:]
        elif words[0] in main.commands and len(words) > 1:
            yield words


def parse(words: list[str]) -> tuple[click.Command, dict[str, Any]]:
    """Return the command that words mean, and its values; options must exist."""
    command: click.Command = main
    context = click.Context(main, **main.context_settings)
    while isinstance(command, click.Group) and words and words[0][0] != "-":
        command, words = command.commands[words[0]], words[1:]
        context = click.Context(command, parent=context)
    values, left_over, _ = command.make_parser(context).parse_args([*words])
    assert not left_over, words
    for parameter in command.params:
        value = values.get(parameter.name)
        if isinstance(value, str) and isinstance(parameter.type, CHECKED_TYPES):
            parameter.type_cast_value(context, value)
    return command, values


def check_recipes(values: dict[str, Any]) -> None:
    """Find the recipe and the protocol that a command names, files aside."""
    for key, prefix in (("recipe", ""), ("protocol", "md-")):
        name = values.get(key)
        if isinstance(name, str) and "." not in name and not name.isupper():
            find_recipe(prefix + name)


@each_page
def test_shell_commands_are_complete_and_have_the_options_shown(page: Path) -> None:
    """Names, options, values and recipes are known, and nothing required is missing."""
    for words in shell_commands(page):
        command, values = parse(words)
        check_recipes(values)
        for parameter in command.params:
            given = isinstance(values.get(parameter.name), str | list | tuple)
            assert given or not parameter.required, (words, parameter.name)


@each_page
def test_commands_in_the_text_exist(page: Path) -> None:
    """The same for commands within sentences, which may be cut short."""
    for words in inline_commands(page):
        check_recipes(parse(words)[1])


def test_commands_that_cards_record_exist() -> None:
    """What made and measured each model can still be parsed."""
    for card in synthzoo.model_cards():
        recorded = [*(card.training.commands or ()), *(r.command for r in card.results)]
        for line in filter(None, recorded):
            name, *words = shlex.split(line)
            if name == "python":
                assert (ROOT / words[0]).is_file(), line
                continue
            assert name == "synthzoo", line
            check_recipes(parse(words)[1])


def test_guides_hold_commands() -> None:
    """Each shows at least one, so that the tests above have something to see."""
    assert all(list(shell_commands(page)) for page in GUIDES)


@each_page
def test_options_in_the_text_exist(page: Path) -> None:
    """An option named alone is one of some command."""
    parameters = [p for command in main.commands.values() for p in command.params]
    known = {option for parameter in parameters for option in parameter.opts}
    named = {words[0] for words in inline_code(page) if words[0].startswith("--")}
    assert named <= known


@each_page
def test_functions_and_modules_in_the_text_exist(page: Path) -> None:
    """What is written as a call is public; what is written with its module is there."""
    for words in inline_code(page):
        if call := re.match(r"(?:\w+\()?(synthzoo(?:\.\w+)+)", words[0]):
            pkgutil.resolve_name(call[1])
        elif call := re.match(r"(\w+)\(", words[-1]):
            assert call[1] in dir(synthzoo), words


@each_page
def test_recipes_shown_can_be_read(page: Path) -> None:
    """Each YAML block is a recipe without unknown keys."""
    for block in blocks(page, "yaml"):
        for section, values in yaml.safe_load(block).items():
            parse_recipe(SECTIONS[section], values, source=page.name)


@each_page
def test_links_lead_to_files_and_headings(page: Path) -> None:
    """Relative links end at a file or folder of the repository, or at a heading."""
    for target, heading in LINK.findall(page.read_text(encoding="utf-8")):
        place = page.parent / target if target else page
        assert place.exists(), target
        assert not heading or heading in headings(place), f"{target}#{heading}"


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as code hosts make them."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {
        re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")
        for title in titles
    }


@each_page
def test_what_a_page_links_to_is_in_the_sdist(page: Path) -> None:
    """The source distribution has what a page links to."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (line,) = re.findall(r"^include = \[(.+)\]$", text, re.MULTILINE)
    included = {entry.strip(' "/') for entry in line.split(",")} | {"README.md"}
    for target, _ in LINK.findall(page.read_text(encoding="utf-8")):
        inside = (page.parent / (target or page.name)).resolve().relative_to(ROOT)
        assert inside.parts[0] in included, target


def test_the_map_of_the_house_has_each_folder_in_the_order_of_the_layers() -> None:
    """CONTRIBUTING.md and the contract of import-linter show the same house."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (layers,) = re.findall(r"^layers = \[(.*?)^\]$", text, re.DOTALL | re.MULTILINE)
    height = {
        name: number
        for number, layer in enumerate(re.findall(r'"(.+)"', layers))
        for name in layer.split(" : ")
    }
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert {path.parent.name for path in ROOT.glob("synthzoo/*/__init__.py")} == {
        *rooms
    }
    assert rooms == sorted(rooms, key=height.__getitem__)


def test_files_named_for_contributors_exist() -> None:
    """The lists of what to touch name files that are there."""
    named = re.findall(
        r"`((?:synthzoo|tests|docs)/[\w/]+\.\w+)`",
        (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
    )
    found = {name for name in named if "NAME" not in name}
    assert len(found) > 10
    assert all((ROOT / name).exists() for name in found)
