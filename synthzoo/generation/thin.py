"""Thin a set of structures to those that are least like each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.data.structures import iter_structures, write_structures
from synthzoo.environments.soap import soap_of, spectra_of
from synthzoo.errors import InputError
from synthzoo.generation.recipe import ThinRecipe
from synthzoo.runs.files import new_output
from synthzoo.runs.progress import progress_bar

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

RADIAL_FUNCTIONS = 6
LARGEST_ANGULAR = 4


@dataclass(frozen=True, kw_only=True)
class ThinSummary:
    """What `thin_file` made.

    Attributes
    ----------
    output
        File with the structures that were kept, in their order.
    kept, structures
        How many were kept, of how many.
    farthest
        Largest distance of an atomic environment of any structure (of those that stand
        for it) to the nearest one that was kept; 0 is alike, 1.4 nothing in common.
    mean
        Mean of that distance.
    """

    output: Path
    kept: int
    structures: int
    farthest: float
    mean: float


def thin_file(
    source: str | Path,
    output: str | Path,
    *,
    recipe: ThinRecipe | None = None,
    format: str | None = None,
    **settings: Any,
) -> ThinSummary:
    """Write the structures of a file that are least like each other, in their order.

    Each structure is represented by those of its atomic environments (normalised SOAP
    power spectra) that are least like each other. The structure that is chosen next
    contains the environment farthest from all that were chosen before. Labels and
    everything else are kept, and nothing is random. Memory is needed for
    ``recipe.environments`` rows of each structure: for one element 3.4 kB for eight of
    them, 340 MB for 100,000 structures; two elements need four times that.

    Parameters
    ----------
    source
        Structures, in any format that ASE reads.
    output
        File to write.
    recipe
        How many to keep, and how to compare.
    format
        Of the source, as ASE calls it, such as ``vasp-xml``; guessed if not given.
    **settings
        Values of `synthzoo.generation.recipe.ThinRecipe` that replace those of the
        recipe: ``keep``, the number of structures; ``cutoff_A``; ``environments``;
        ``one_of_each``, a key in ``Atoms.info``.

    Raises
    ------
    InputError
        If the output exists, the input cannot be read, has fewer structures than are to
        be kept, or lacks the key of ``recipe.one_of_each``.
    MissingExtraError
        If dscribe is not installed.

    Examples
    --------
    >>> thin_file("made.xyz", "fewer.xyz", keep=100).kept  # doctest: +SKIP
    100
    """
    source, output = Path(source), Path(output)
    recipe = ThinRecipe(**settings) if recipe is None else replace(recipe, **settings)
    read = partial(iter_structures, source, format=format)
    with new_output(output):
        elements, labels = _survey(read(), source, recipe)
        environments = describe_structures(
            read(), total=len(labels), elements=elements, recipe=recipe
        )
        chosen, distances = select_farthest(
            environments, keep=recipe.keep, first=_one_of_each(labels, recipe)
        )
        wanted = set(chosen)
        write_structures(
            output, (atoms for i, atoms in enumerate(read()) if i in wanted)
        )
    return ThinSummary(
        output=output,
        kept=len(chosen),
        structures=len(labels),
        farthest=float(distances.max()),
        mean=float(distances.mean()),
    )


def _survey(
    structures: Iterable[Atoms], source: Path, recipe: ThinRecipe
) -> tuple[list[str], list[str]]:
    """Return the elements of a file and the label of each structure."""
    elements: set[str] = set()
    labels = []
    for index, atoms in enumerate(structures):
        elements.update(atoms.symbols)
        if recipe.one_of_each is not None and recipe.one_of_each not in atoms.info:
            raise InputError(
                f"{source}: structure {index + 1} has no {recipe.one_of_each!r}, which "
                "one-of-each asks for."
            )
        labels.append(str(atoms.info.get(recipe.one_of_each)))
    if not 1 <= recipe.keep <= len(labels):
        raise InputError(
            f"{source} has only {len(labels)} structures; {recipe.keep} cannot be kept."
        )
    return sorted(elements), labels


def _one_of_each(labels: list[str], recipe: ThinRecipe) -> list[int]:
    if recipe.one_of_each is None:
        return [0]
    first = {label: index for index, label in reversed(list(enumerate(labels)))}
    if len(first) > recipe.keep:
        raise InputError(
            f"{recipe.one_of_each!r} has {len(first)} values: keep at least as many "
            f"structures, not {recipe.keep}."
        )
    return sorted(first.values())


def describe_structures(
    structures: Iterable[Atoms], *, total: int, elements: list[str], recipe: ThinRecipe
) -> NDArray[np.float32]:
    """Return the environments that represent each structure.

    ``recipe``: cutoff, and number of environments for each structure.
    Returns ``environments``: unit vectors of shape ``(n_structures,
    recipe.environments, n_features)``; where a structure has fewer atoms, its last one
    is repeated.
    """
    soap = soap_of(
        elements,
        cutoff_A=recipe.cutoff_A,
        radial=RADIAL_FUNCTIONS,
        angular=LARGEST_ANGULAR,
    )
    count = recipe.environments
    described = np.empty(
        (total, count, soap.get_number_of_features()), dtype=np.float32
    )
    bar = progress_bar(structures, desc="describe", unit="structure", total=total)
    for index, atoms in enumerate(bar):
        described[index] = _spread(spectra_of(atoms, soap), count)
    return described


def _spread(environments: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return so many rows, farthest first, from the one farthest from the mean on."""
    mean = environments.mean(axis=0, keepdims=True)
    picked = [int(np.argmax(_distances(environments, mean)))]
    nearest = _distances(environments, environments[picked])
    while len(picked) < count:
        picked.append(int(np.argmax(nearest)))
        nearest = np.minimum(
            nearest, _distances(environments, environments[picked[-1:]])
        )
    return environments[picked]


def select_farthest(
    environments: NDArray[np.float32], *, keep: int, first: list[int]
) -> tuple[list[int], NDArray[np.float32]]:
    """Return the structures to keep, and how far every environment is from them.

    Farthest-point sampling (doi 10.1016/0304-3975(85)90224-5) over atomic environments,
    of which a structure brings all of its own at once.

    ``environments``: of shape ``(n_structures, n_environments, n_features)``, unit
    vectors.
    ``first``: indices of those that are kept in any case, at least one.
    Returns ``distances``: to the nearest environment that was kept, of shape
    ``(n_structures, n_environments)``.
    """
    structures, each, features = environments.shape
    rows = environments.reshape(-1, features)
    nearest = np.full(len(rows), np.inf, dtype=np.float32)
    chosen: list[int] = []
    with progress_bar(desc="select", unit="structure", total=keep) as bar:
        while len(chosen) < keep:
            index = first[len(chosen)] if len(chosen) < len(first) else None
            if index is None:
                index = _next(nearest.reshape(structures, each), chosen)
            chosen.append(index)
            nearest = np.minimum(nearest, _distances(rows, environments[index]))
            bar.update()
    return chosen, nearest.reshape(structures, each)


def _next(nearest: NDArray[np.float32], chosen: list[int]) -> int:
    farthest = nearest.max(axis=1)
    farthest[chosen] = -1.0  # twins have a distance of zero
    return int(np.argmax(farthest))


def _distances(
    rows: NDArray[np.float32], others: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the distance of each row to the nearest of the others; all unit vectors.

    A mean of unit vectors, which is shorter, is compared by direction.
    """
    likeness = (rows @ others.T).max(axis=1)
    return np.asarray(np.sqrt(np.maximum(0.0, 2.0 - 2.0 * likeness)))
