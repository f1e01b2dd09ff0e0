"""Hooks of mkdocs: pages that are made from the project, and links between pages.

Cards, recipes, commands, functions and the pages at the top of the repository become
pages of the site whenever it is built; no copy of them is kept here. Links are written
for the repository (`../model_cards/carbon-ace-45k.md`), where they work on the page of
a code host, and are turned to the pages of the site.
"""

from __future__ import annotations

import inspect
import itertools
import json
import posixpath
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from click.testing import CliRunner

import synthzoo
from synthzoo.cli import main
from synthzoo.recipes.loading import SECTIONS
from synthzoo.recipes.schema import Checked, Section
from synthzoo.reports.document import markdown_table

if TYPE_CHECKING:
    import griffe
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
MOVED = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "synthzoo/data/samples_data/README.md": "samples.md",
}
"""Pages outside of this folder: where they are in the repository, and on the site."""

FOLDERS = {"docs": "", "model_cards": "models", "recipes": "recipes"}
"""Folders of the repository, and on the site."""

RECIPE_MODULES = {
    "generate": (
        "generation.recipe",
        "generation.kinds.from_atoms",
        "generation.kinds.from_prototypes",
        "generation.kinds.sheets",
        "generation.kinds.relaxed",
        "generation.kinds.from_file",
    ),
    "relabel": ("labelling.recipe",),
    "pretrain": ("training.recipe", "models.recipe"),
    "finetune": ("finetuning.recipe",),
    "md": ("stability.protocol",),
}
"""Modules with the classes that each section of a recipe is read into."""

LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")
FACT_WIDTH = 16
"""Columns of the names of facts in the output of `synthzoo show`."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Give headings the anchors that code hosts give them."""
    from pymdownx.slugs import slugify

    config.mdx_configs["toc"]["slugify"] = slugify(case="lower")
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, and their figures, and list them."""
    from mkdocs.structure.files import File

    made = pages()
    for place, text in made.items():
        files.append(File.generated(config, place, content=text))
    for figure in figures():
        place = site_place(figure)
        files.append(File.generated(config, place, abs_src_path=str(ROOT / figure)))
    config.nav = [_whole_folder(entry, made) for entry in config.nav or []]
    return files


def _whole_folder(entry: Any, made: dict[str, str]) -> Any:
    """Replace a folder in the navigation by the pages that were made for it."""
    if isinstance(entry, str):
        return entry
    ((title, value),) = entry.items()
    if isinstance(value, list):
        return {title: [_whole_folder(part, made) for part in value]}
    if value.endswith("/"):
        first = f"{value}index.md"
        others = [place for place in made if place.startswith(value) and place != first]
        return {title: [first, *others]}
    return entry


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn the links of a page that were written for the repository."""
    place = page.file.src_uri
    sources = {site: repository for repository, site in MOVED.items()}
    if source := sources.get(place) or _repository_place(place):
        return turned_links(markdown, source)
    return markdown


def _repository_place(place: str) -> str | None:
    """Return the file of the repository that a page of the site was made of."""
    for folder, site in FOLDERS.items():
        if site and place.startswith(f"{site}/") and place != f"{site}/index.md":
            return f"{folder}/{place.removeprefix(f'{site}/')}"
    return f"docs/{place}" if (ROOT / "docs" / place).exists() else None


def turned_links(markdown: str, source: str) -> str:
    """Return a page of the repository with links that hold on the site.

    Parameters
    ----------
    markdown
        Text of the page.
    source
        Its file in the repository.
    """
    here = posixpath.dirname(site_place(source))

    def turn(link: re.Match[str]) -> str:
        target = posixpath.join(posixpath.dirname(source), link[1])
        return posixpath.relpath(site_place(posixpath.normpath(target)), here or ".")

    return LINK.sub(turn, markdown)


def site_place(file: str) -> str:
    """Return where a file or folder of the repository is on the site.

    Parameters
    ----------
    file
        Path within the repository; one that is not on the site stays as it is.

    Examples
    --------
    >>> site_place("model_cards/carbon-ace-45k.md")
    'models/carbon-ace-45k.md'
    >>> site_place("recipes/carbon-short.yaml")
    'recipes/carbon-short.md'
    """
    if file in MOVED:
        return MOVED[file]
    folder, _, rest = file.partition("/")
    if folder not in FOLDERS:
        return file
    rest = rest.replace(".yaml", ".md") or "index.md"
    return posixpath.join(FOLDERS[folder], rest)


def figures() -> list[str]:
    """Return the figures of cards and recipes, as files of the repository."""
    folders = ("model_cards/figures", "recipes")
    found = [path for folder in folders for path in (ROOT / folder).glob("*.png")]
    return sorted(str(path.relative_to(ROOT)) for path in found)


def pages() -> dict[str, str]:
    """Return the text of each page that is made, by its place on the site."""
    made = {site: (ROOT / file).read_text("utf-8") for file, site in MOVED.items()}
    return made | _models() | _recipes() | _commands() | _functions()


def _models() -> dict[str, str]:
    rows, made = [], {}
    for card in synthzoo.model_cards():
        place = f"{card.path.stem}.md"
        made[f"models/{place}"] = _model(card.name)
        aliases = "".join(f", `{alias}`" for alias in card.aliases)
        failures = "; ".join(failure.title for failure in card.known_failures)
        rows.append((f"[`{card.name}`]({place}){aliases}", card.summary, failures))
    header = ("Model", "What it is", "Known failures")
    index = f"# Model cards\n\n{markdown_table(header, rows)}\n"
    return {"models/index.md": index} | made


def _model(name: str) -> str:
    """Return the page of a model: what `synthzoo show` prints of it."""
    bibtex = _printed("show", name, "--bibtex").strip()
    facts, title, text = re.split(
        r"^(# .+\n)", _printed("show", name), maxsplit=1, flags=re.MULTILINE
    )
    rows = [
        (line[:FACT_WIDTH].strip(), line[FACT_WIDTH:].strip())
        for line in facts.splitlines()
        if line
    ]
    parts = [
        title.strip(),
        markdown_table(("Fact", "Value"), rows),
        text.strip().removesuffix(bibtex).strip(),
        f"## Citation\n\n```bibtex\n{bibtex}\n```\n",
    ]
    return "\n\n".join(parts)


def _printed(*words: str) -> str:
    """Return what a command prints."""
    return CliRunner().invoke(main, words, catch_exceptions=False).stdout


def _recipes() -> dict[str, str]:
    rows, made = [], {}
    for path in sorted((ROOT / "recipes").glob("*.yaml")):
        text = path.read_text("utf-8")
        page = f"# {path.stem}\n\n```yaml\n{text}```\n"
        if (report := path.with_suffix(".md")).exists():
            page += f"\n{_one_level_down(report.read_text('utf-8'))}"
        made[f"recipes/{path.stem}.md"] = page
        sections = ", ".join(re.findall(r"^(\w+):", text, re.MULTILINE))
        about = _first_sentence(text)
        rows.append((f"[`{path.stem}`]({path.stem}.md)", about, sections))
    header = ("Recipe", "What it is", "Sections")
    index = f"# Recipes\n\n{markdown_table(header, rows)}\n"
    return {"recipes/index.md": index, "recipe-keys.md": _recipe_keys()} | made


def _first_sentence(recipe: str) -> str:
    """Return the first sentence of the comment with which a recipe file begins."""
    lines = itertools.takewhile(lambda line: line[:1] == "#", recipe.splitlines())
    comment = " ".join(line.lstrip("# ") for line in lines)
    return re.split(r"(?<=[.?!]) ", comment, maxsplit=1)[0]


def _one_level_down(markdown: str) -> str:
    """Return a page whose headings fit below another title."""
    return re.sub(r"^#+ ", r"#\g<0>", markdown, flags=re.MULTILINE)


def _recipe_keys() -> str:
    """Return the page with the classes that mirror the sections of a recipe."""
    parts = [
        "# Keys of recipes",
        "Each block shows all keys with their defaults; `…` marks a key without one.",
    ]
    for section in SECTIONS:
        parts.append(f"## {section}")
        for module in RECIPE_MODULES[section]:
            for cls in _recipe_classes(f"synthzoo.{module}"):
                parts += [_attributes(f"{cls.__module__}.{cls.__name__}"), _yaml(cls)]
    return "\n\n".join(parts) + "\n"


def _yaml(cls: type[Checked]) -> str:
    """Return the keys of a class as YAML, with their defaults."""
    fields = msgspec.structs.fields(cls)
    lines = [f"{field.name}: {_default(field)}" for field in fields]
    if tag := cls.__struct_config__.tag:
        lines.insert(0, f"kind: {tag}")
    keys = "\n".join(lines)
    return f"```yaml\n{keys}\n```"


def _default(field: msgspec.structs.FieldInfo) -> str:
    """Return the default of a field as YAML."""
    if field.required:
        return "…"
    made = field.default_factory
    default = field.default if made is msgspec.NODEFAULT else made()
    if isinstance(default, msgspec.Struct):
        return f"{{}} # all defaults of {type(default).__name__}"
    return json.dumps(msgspec.to_builtins(default))


def _recipe_classes(module: str) -> list[type[Checked]]:
    """Return the classes of recipes that a module defines, the whole section first."""
    classes = [
        value
        for value in vars(import_module(module)).values()
        if isinstance(value, type)
        and issubclass(value, Checked)
        and value.__module__ == module
    ]
    return sorted(classes, key=lambda cls: not issubclass(cls, Section))


def _commands() -> dict[str, str]:
    """Return a page of all commands, under the headings of `synthzoo -h`."""
    context = click.Context(main, info_name="synthzoo", **main.context_settings)
    parts = ["# Commands", inspect.cleandoc(main.help or "")]
    for heading, names in main.sections.items():
        parts.append(f"## {heading}")
        for name in names:
            parts += _command(main.commands[name], name, context)
    return {"commands.md": "\n\n".join(parts) + "\n"}


def _command(command: click.Command, name: str, parent: click.Context) -> Iterator[str]:
    """Yield the heading, text, usage and options of a command and those within it."""
    context = click.Context(command, info_name=name, parent=parent)
    yield f"### {context.command_path}"
    yield inspect.cleandoc(command.help or "")
    if isinstance(command, click.Group):
        for inner, child in command.commands.items():
            yield from _command(child, inner, context)
        return
    yield f"```text\n{command.get_usage(context).removeprefix('Usage: ')}\n```"
    for option in command.params:
        if isinstance(option, click.Option) and (
            record := option.get_help_record(context)
        ):
            yield f"`{record[0]}`\n:   {record[1] or '–'}"


def _functions() -> dict[str, str]:
    """Return a page for each heading of the package's docstring, and their index."""
    import griffe

    package, shown = griffe.load("synthzoo"), set[str]()
    made, index = {}, ["# Python functions"]
    for heading, names in _jobs():
        page = re.sub(r"\W+", "-", heading.lower()) + ".md"
        entries = []
        for name in names:
            results = [cls for cls in _returned(package[name]) if cls not in shown]
            shown.update(results)
            entries += [f"::: synthzoo.{name}", *map(_attributes, results)]
        made[f"functions/{page}"] = "\n\n".join([f"# {heading}", *entries]) + "\n"
        rows = [
            (f"[`{name}`]({page}#synthzoo.{name})", text)
            for name, text in names.items()
        ]
        index += [f"## {heading}", markdown_table(("Function", "What it does"), rows)]
    return {"functions/index.md": "\n\n".join(index) + "\n"} | made


def _returned(function: griffe.Alias) -> list[str]:
    """Return the paths of synthzoo's own classes that a function returns."""
    import griffe

    returns = function.returns
    found = returns.iterate(flat=True) if isinstance(returns, griffe.Expr) else ()
    paths = [part.canonical_path for part in found if isinstance(part, griffe.ExprName)]
    return [path for path in paths if path.startswith("synthzoo.")]


def _attributes(cls: str) -> str:
    """Return the entry of a class of which the attributes alone are of interest."""
    options = "heading_level: 3, members: false, show_signature: false"
    return f"::: {cls}\n    options: {{{options}, separate_signature: false}}"


def _jobs() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the headings of the package's docstring, and names and lines below each."""
    text = synthzoo.__doc__ or ""
    for heading, lines in re.findall(
        r"^(\S.+)\n((?:    \w+ +.+\n)+)", text, re.MULTILINE
    ):
        yield heading, dict(re.findall(r"^ +(\w+) +(.+)$", lines, re.MULTILINE))
