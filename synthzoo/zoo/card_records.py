"""What a card says about a model, each group of facts a frozen struct."""

from __future__ import annotations

import re
from typing import Annotated

from synthzoo.errors import InputError
from synthzoo.recipes.schema import (
    Checked,
    Count,
    CountFrom0,
    NotNegative,
    Number,
    Positive,
    matching,
)
from synthzoo.runs.files import SHA256

REPOSITORY = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")
"""Form of the name of a repository on the hub."""

COMMIT = re.compile(r"[0-9a-f]{40}")
"""Form of a full commit hash."""

_ADDRESS = r"https://[A-Za-z0-9_.-]+/[A-Za-z0-9_./%-]+"

OneLine = Annotated[str, matching(r"[^\n]*\n?", "one line")]
Sha256 = Annotated[str, matching(SHA256.pattern, "64 hexadecimal digits")]
Repository = Annotated[str, matching(REPOSITORY.pattern, "organisation/name")]
Commit = Annotated[str, matching(COMMIT.pattern, "a full commit hash")]
Address = Annotated[str, matching(_ADDRESS, "an https address")]


class FileRecord(Checked, frozen=True, kw_only=True):
    """Size and hash of a file.

    Attributes
    ----------
    size
        In bytes.
    sha256
        In hexadecimal.
    """

    size: Count
    sha256: Sha256


class Teacher(Checked, frozen=True, kw_only=True):
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
    sha256: Sha256 | None = None


class HubPlace(Checked, frozen=True, kw_only=True):
    """Where a model lies on the Hugging Face hub; nowhere if both are empty.

    Attributes
    ----------
    repository
        As ``organisation/name``.
    revision
        Full commit hash, so that what is downloaded can never change.
    """

    repository: Repository | None
    revision: Commit | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.repository is None) != (self.revision is None):
            raise InputError("expected a repository with its revision, or neither.")


class TrainingRun(Checked, frozen=True, kw_only=True):
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

    structures: CountFrom0
    atoms: CountFrom0
    seconds: Positive | None
    hardware: str
    recipe: str
    epochs: CountFrom0 | None = None
    seed: CountFrom0 | None = None
    data_sha256: Sha256 | None = None
    commands: tuple[str, ...] = ()
    note: str = ""


class Result(Checked, frozen=True, kw_only=True):
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
    structures: Count
    energy_rmse_meV_per_atom: NotNegative | None
    force_rmse_eV_A: NotNegative | None
    note: str
    command: str | None


class ComparedValue(Checked, frozen=True, kw_only=True):
    """A number that a model gives, beside its teacher's.

    Attributes
    ----------
    quantity
        What it is, with its unit.
    model, teacher
        The two numbers.
    """

    quantity: str
    model: Number
    teacher: Number


class KnownFailure(Checked, frozen=True, kw_only=True):
    """Something that a model gets so wrong that a user must know before using it.

    Attributes
    ----------
    title
        A few words, for tables.
    summary
        One sentence.
    values
        Numbers that show it.
    """

    title: OneLine
    summary: OneLine
    values: tuple[ComparedValue, ...]


class Crystal(Checked, frozen=True, kw_only=True):
    """A crystal as the teacher sees it.

    Attributes
    ----------
    a_A
        Relaxed lattice constant.
    energy_eV_per_atom
        At that lattice constant, relative to isolated atoms.
    volumes_A3_per_atom, energies_eV_per_atom
        Points on the energy–volume curve.
    c11_GPa, c12_GPa, c44_GPa
        Elastic constants of a cubic crystal at that lattice constant.
    """

    a_A: Positive
    energy_eV_per_atom: Number
    volumes_A3_per_atom: tuple[Positive, ...] = ()
    energies_eV_per_atom: tuple[Number, ...] = ()
    c11_GPa: Number | None = None
    c12_GPa: Number | None = None
    c44_GPa: Number | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.volumes_A3_per_atom) != len(self.energies_eV_per_atom):
            raise InputError("expected as many volumes as energies.")


class ReferenceValues(Checked, frozen=True, kw_only=True):
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


class Prediction(Checked, frozen=True, kw_only=True):
    """What the software that wrote a published file predicts for one structure.

    Attributes
    ----------
    energy_eV
        Total energy.
    first_force_eV_A
        Force on the first atom, three components.
    """

    energy_eV: Number
    first_force_eV_A: tuple[Number, Number, Number]


class Published(Checked, frozen=True, kw_only=True):
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
        For the structures of `zoo.published.small_structures`, in their order.
    """

    address: Address
    file: FileRecord
    avg_num_neighbors: Positive
    found: str
    predictions: tuple[Prediction, ...]
