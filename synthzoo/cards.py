"""Model cards: one Markdown file for each model, whose YAML head is its record.

The dataclasses below are the schema of the head. An unknown key, a missing one or a
value that cannot be is refused with the file and the key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import yaml

from synthzoo.errors import InputError
from synthzoo.schema import from_values

NO_LICENCE = "none"
"""Licence of a model whose authors gave none: it may be used, but not passed on."""

_NAME = re.compile(r"([a-z0-9]+/)?[a-z0-9]+(-[a-z0-9]+)*")
_ADDRESS = re.compile(r"https://[\w.-]+/[\w./%-]+", re.ASCII)
_ELEMENT = re.compile(r"[A-Z][a-z]?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_BIBTEX = re.compile(r"\s*@\w+\s*\{.*\}\s*", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """Size and hash of a file.

    Attributes
    ----------
    size
        In bytes.
    sha256
        In hexadecimal.
    """

    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """What made the labels that a model was trained on.

    Attributes
    ----------
    name
        Name that `synthzoo relabel` knows.
    potential
        The teacher's own potential file or model.
    licence
        Of the potential.
    reference
        DOI or address of its description.
    level_of_theory
        What the teacher itself was fitted to.
    version
        Of the teacher's code; none if it is not known.
    sha256
        Hash of the potential file; none if it is not known.
    """

    name: str
    potential: str
    licence: str
    reference: str
    level_of_theory: str
    version: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class HubPlace:
    """Where a model lies on the Hugging Face hub; nowhere if both are empty.

    Attributes
    ----------
    repository
        As ``organisation/name``.
    revision
        Full commit hash, so that what is downloaded can never change.
    """

    repository: str | None
    revision: str | None


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """What a model was trained on and what that took.

    Attributes
    ----------
    structures
        Number of training structures.
    atoms
        Atoms in all of them.
    seconds
        Wall time of the fit; none if it is not known.
    hardware
        What it ran on.
    recipe
        Recipe file that repeats it.
    epochs
        Passes over the training set.
    seed
        Of the weights and the order of the structures.
    data_sha256
        Hash of the training file.
    commands
        What to type, in order, to make the model again.
    note
        Anything else worth knowing.
    """

    structures: int
    atoms: int
    seconds: float | None
    hardware: str
    recipe: str
    epochs: int | None = None
    seed: int | None = None
    data_sha256: str | None = None
    commands: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Result:
    """Errors of a model, measured on one data set.

    Attributes
    ----------
    data
        Name of the data set.
    structures
        Number of structures in it.
    energy_rmse_meV_per_atom
        Root-mean-square error of the energy; none if energies cannot be compared.
    force_rmse_eV_A
        Root-mean-square error over all force components; none if it was not published.
    note
        What the labels are, and what was done to make them comparable.
    command
        What to type to measure it again; none for a published number.
    """

    data: str
    structures: int
    energy_rmse_meV_per_atom: float | None
    force_rmse_eV_A: float | None
    note: str
    command: str | None


@dataclass(frozen=True, kw_only=True)
class Crystal:
    """A crystal as the teacher sees it.

    Attributes
    ----------
    a_A
        Relaxed lattice constant.
    energy_eV_per_atom
        At that lattice constant, relative to isolated atoms.
    volumes_A3_per_atom, energies_eV_per_atom
        Points on the energy–volume curve.
    """

    a_A: float
    energy_eV_per_atom: float
    volumes_A3_per_atom: tuple[float, ...] = ()
    energies_eV_per_atom: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReferenceValues:
    """Values of the teacher that a model is compared with.

    Attributes
    ----------
    teacher
        Whose values they are.
    crystals
        Crystal for each name, such as ``diamond``.
    """

    teacher: str
    crystals: dict[str, Crystal]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the software that wrote a published file predicts for one structure.

    Attributes
    ----------
    energy_eV
        Total energy.
    first_force_eV_A
        Force on the first atom, three components.
    """

    energy_eV: float
    first_force_eV_A: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Published:
    """A file of nequip 0.5.6 that others have published; it is converted when used.

    Attributes
    ----------
    address
        Where it is downloaded; it holds a commit hash, so that it can never change.
    file
        Its size and hash.
    avg_num_neighbors
        Number of neighbours, which the file does not hold.
    found
        How that number was found.
    predictions
        For the structures of `synthzoo.paper.small_structures`, in their order.
    """

    address: str
    file: FileRecord
    avg_num_neighbors: float
    found: str
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True, kw_only=True)
class _Record:
    """What stands under `synthzoo:` in the head of a card."""

    name: str
    summary: str
    kind: Literal["potential", "starting-point"]
    elements: tuple[str, ...]
    cutoff_A: float
    parameters: int
    teacher: Teacher
    files: dict[str, FileRecord]
    hub: HubPlace
    training: TrainingRun
    results: tuple[Result, ...]
    citation: str
    aliases: tuple[str, ...] = ()
    reference_values: ReferenceValues | None = None
    published: Published | None = None


@dataclass(frozen=True, kw_only=True)
class _Head:
    """The head of a card; all keys but one are those that the hub knows."""

    license: str
    library_name: Literal["synthzoo"]
    tags: tuple[str, ...]
    synthzoo: _Record


@dataclass(frozen=True, kw_only=True)
class ModelCard(_Record):
    """One model of the zoo: its record and its page.

    Attributes
    ----------
    name
        Also the name of the card's file, with a dash for a slash, and of the folder of
        weights.
    aliases
        Shorter names.
    summary
        One line.
    kind
        A potential, or only a start for fine-tuning.
    elements
        Chemical symbols that the model knows.
    cutoff_A
        Radius within which atoms see each other.
    parameters
        Number of weights.
    teacher
        What made the labels.
    files
        Size and hash of each file of the checkpoint; none if it is made when needed.
    hub
        Where it can be downloaded.
    training
        What it was trained on, and the cost.
    results
        Measured errors.
    reference_values
        What the teacher says about a few crystals.
    published
        The file of others that the checkpoint is made of.
    citation
        BibTeX.
    licence
        SPDX name in small letters, as the hub writes it, or ``none``.
    tags
        Keywords for the hub.
    path
        The card's file.
    head
        The YAML text.
    body
        The Markdown text.
    """

    licence: str
    tags: tuple[str, ...]
    path: Path = field(compare=False)
    head: str = field(repr=False)
    body: str = field(repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The name, then the aliases."""
        return (self.name, *self.aliases)


def read_card(path: Path) -> ModelCard:
    """Return one model card, checked.

    Parameters
    ----------
    path
        Markdown file with a YAML head.

    Raises
    ------
    InputError
        If the head is missing, not YAML, or says something that cannot be; the message
        names the file and the key.
    """
    head, body = _split(path)
    parsed = from_values(_Head, _load_yaml(head, path), source=str(path))
    record = parsed.synthzoo
    card = ModelCard(
        **{entry.name: getattr(record, entry.name) for entry in fields(record)},
        licence=parsed.license,
        tags=parsed.tags,
        path=path,
        head=head,
        body=body,
    )
    for key, complaint in _complaints(card):
        raise InputError(f"{path}: {key}: {complaint}")
    return card


def published_file(card: ModelCard) -> Published:
    """Return the file of others that the checkpoint of a model is made of.

    Parameters
    ----------
    card
        A model of the register.

    Raises
    ------
    InputError
        If there is none.
    """
    if card.published is None:
        raise InputError(f"{card.path} names no file that its authors have published.")
    return card.published


def _split(path: Path) -> tuple[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text: {error}") from error
    parts = re.split(r"^---\n", text, maxsplit=2, flags=re.MULTILINE)
    if len(parts) != 3 or parts[0]:
        raise InputError(f"{path}: expected a YAML head between two lines `---`.")
    return parts[1], parts[2]


class _StrictLoader(yaml.SafeLoader):
    """Reads YAML, but no key twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002  PyYAML's signature
        keys = [key.value for key, _ in node.value]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise yaml.constructor.ConstructorError(
                None, None, f"keys given twice: {twice}", node.start_mark
            )
        return super().construct_mapping(node, deep=deep)


def _load_yaml(head: str, path: Path) -> Any:
    try:
        return yaml.load(head, _StrictLoader)  # noqa: S506  a SafeLoader
    except yaml.YAMLError as error:
        raise InputError(f"{path}: the head is not YAML: {error}") from error


def _complaints(card: ModelCard) -> Iterator[tuple[str, str]]:
    # Yield the key and the fault of whatever the types alone cannot exclude.
    from synthzoo.checkpoint import MODEL_FILES

    if card.name.replace("/", "-") != card.path.stem:
        yield "synthzoo.name", f"expected the file's name {card.path.stem!r}."
    yield from _pattern_complaints(card)
    yield from _number_complaints(card)
    if "\n" in card.summary.strip():
        yield "synthzoo.summary", "expected one line."
    if (card.hub.repository is None) != (card.hub.revision is None):
        yield "synthzoo.hub", "expected a repository with its revision, or neither."
    expected = () if card.published else MODEL_FILES
    if set(card.files) != set(expected):
        yield "synthzoo.files", f"expected {list(expected)}, found {[*card.files]}."
    if (card.licence == NO_LICENCE) != (card.published is not None):
        yield "license", f"expected {NO_LICENCE!r} for what others published, only."


def _pattern_complaints(card: ModelCard) -> Iterator[tuple[str, str]]:
    hashes: dict[str, str | None] = {
        f"files.{name}.sha256": file.sha256 for name, file in card.files.items()
    }
    hashes["teacher.sha256"] = card.teacher.sha256
    addresses: dict[str, str | None] = {}
    if card.published is not None:
        addresses["published.address"] = card.published.address
        hashes["published.file.sha256"] = card.published.file.sha256
    rules: tuple[tuple[re.Pattern[str], str, Mapping[str, str | None]], ...] = (
        (_NAME, "small letters, digits and single dashes", _numbered("names", card)),
        (_ADDRESS, "an https address", addresses),
        (_ELEMENT, "a chemical symbol", _numbered("elements", card)),
        (_SHA256, "64 hexadecimal digits", hashes),
        (_REPOSITORY, "organisation/name", {"hub.repository": card.hub.repository}),
        (_COMMIT, "a full commit hash", {"hub.revision": card.hub.revision}),
        (_BIBTEX, "a BibTeX entry", {"citation": card.citation}),
    )
    for pattern, expected, values in rules:
        for key, value in values.items():
            if value is not None and not pattern.fullmatch(value):
                yield f"synthzoo.{key}", f"expected {expected}, found {value!r}."


def _numbered(key: str, card: ModelCard) -> dict[str, str | None]:
    values = card.names if key == "names" else card.elements
    return {f"{key}[{index}]": value for index, value in enumerate(values)}


def _number_complaints(card: ModelCard) -> Iterator[tuple[str, str]]:
    positive: dict[str, float] = {
        "cutoff_A": card.cutoff_A,
        "parameters": card.parameters,
        "elements": len(card.elements),
        **{f"files.{name}.size": file.size for name, file in card.files.items()},
        **{
            f"results[{i}].structures": r.structures for i, r in enumerate(card.results)
        },
    }
    if card.published is not None:
        positive["published.avg_num_neighbors"] = card.published.avg_num_neighbors
        positive["published.file.size"] = card.published.file.size
    for key, value in positive.items():
        if value <= 0:
            yield f"synthzoo.{key}", f"expected more than 0, found {value}."
    if len(set(card.elements)) < len(card.elements):
        yield "synthzoo.elements", "an element is given twice."
    for name, crystal in _crystals(card):
        if len(crystal.volumes_A3_per_atom) != len(crystal.energies_eV_per_atom):
            yield (
                f"synthzoo.reference_values.crystals.{name}",
                "expected as many volumes as energies.",
            )


def _crystals(card: ModelCard) -> Iterable[tuple[str, Crystal]]:
    return card.reference_values.crystals.items() if card.reference_values else ()
