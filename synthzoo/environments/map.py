"""Maps of environments: which there are, and which a set has that another one lacks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from synthzoo.data.structures import write_structures
from synthzoo.environments.descriptors import (
    Computed,
    computed_by,
    network_calculator,
    soap_features,
    soap_for,
)
from synthzoo.environments.figure import draw_maps
from synthzoo.environments.page import write_page
from synthzoo.environments.projection import (
    Method,
    Projection,
    check_installed,
    fit_projection,
    read_projections,
    write_projections,
)
from synthzoo.environments.quality import Separation, separation_of
from synthzoo.environments.quantities import (
    CRYSTALS,
    Quantity,
    bonds_of,
    column_of,
    geometry_of,
    predictions_of,
    similarity_to,
)
from synthzoo.environments.sample import Sample, take_sample
from synthzoo.errors import InputError
from synthzoo.models.config import MAP_FILE
from synthzoo.potentials import Model, at_level, model_name
from synthzoo.runs.files import new_output, write_text
from synthzoo.runs.progress import progress_bar
from synthzoo.runs.provenance import installed_versions
from synthzoo.zoo.find import find_folder
from synthzoo.zoo.registry import model_cards

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.models.calculator import SynthzooCalculator

By = Literal["model", "soap"]
SOAP = "soap"
OUTSIDE = 1.0
"""Times the reach of a map from its nearest environment: farther ones lie outside."""
ENDINGS = {
    "page": ".html",
    "figure": ".png",
    "structures": ".xyz",
    "projections": ".safetensors",
    "results": ".json",
}


@dataclass(frozen=True, kw_only=True)
class MapSummary:
    """What `map_environments` made.

    Attributes
    ----------
    page, figure, structures, projections, results
        Files: the page for a browser; the picture; the structures with the places of
        their atoms; what ``onto`` takes; all numbers.
    environments
        Atoms shown.
    said
        What was left out, if anything.
    separation
        For each description, how well it separates environments by number of bonds.
    outside
        For each description, the share of each set's environments that lie outside
        of the map they were laid onto; empty without ``onto``.
    """

    page: Path
    figure: Path
    structures: Path
    projections: Path
    results: Path
    environments: int
    said: str
    separation: tuple[Separation, ...]
    outside: dict[str, dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class _Described:
    """Environments by one description: features, the map, and where they are in it."""

    features: NDArray[np.float32]
    projection: Projection
    places: NDArray[np.float32]
    far: NDArray[np.float32] | None


def map_environments(  # noqa: PLR0913  what a user may say
    model: Model,
    sources: Path | str | Sequence[Path | str],
    output: str | Path,
    *,
    level: str | None = None,
    by: Sequence[By] | None = None,
    method: Method | None = None,
    onto: str | Path | None = None,
    environments: int = 30_000,
    like: Sequence[str] | None = None,
    columns: Sequence[str] = (),
    clusters: int = 7,
    seed: int = 0,
    format: str | None = None,
) -> MapSummary:
    """Draw environments of atoms in a plane, like ones close to each other.

    The page ``output`` works in any browser without a network: a click on a point shows
    the atom and its neighbours. Beside it, with other endings, there are a picture
    (``.png``), the structures with the places and clusters of their atoms (``.xyz``),
    all numbers (``.json``) and the projection (``.safetensors``), onto which other sets
    can be laid.

    Parameters
    ----------
    model
        Network whose features describe the environments, and whose energies and errors
        colour them: a model of the zoo, a checkpoint folder, or ``hf:…``.
    sources
        Structures, with or without labels: files in any format that ASE reads, or
        patterns. Each is a set with a colour of its own.
    output
        Page to write; its name has to end in ``.html``.
    level
        Level of theory, of a model that has several; its default one if not given. All
        levels have the same features, but each has its own energies.
    by
        What describes environments: ``"model"`` (see `features`), ``"soap"`` (the SOAP
        power spectrum, doi 10.1103/PhysRevB.87.184115), or both for comparison. The
        model if not given, or with ``onto`` all that the earlier map has.
    method
        How they come into the plane: ``"umap"`` by default, ``"tsne"``, or ``"pca"``.
    onto
        Projection of an earlier map, or a model that comes with a map of what it was
        trained on, such as ``"carbon"``. The environments are laid among those of that
        map, which are drawn in grey, and the share that lies outside of it is told.
    environments
        Most atoms that are shown; of larger sets, structures are taken at random.
    like
        Crystals with which environments are compared by SOAP: ``"diamond"``,
        ``"graphite"``, or files of structures. For carbon these two if not given.
    columns
        Keys of the files whose values colour the environments, too.
    clusters
        Number of clusters (BIRCH) of the first description; 0 for none.
    seed
        Of all that is random.
    format
        Of all files, as ASE calls it; guessed for each if not given.

    Returns
    -------
    summary
        Files and numbers.

    Raises
    ------
    InputError
        If something exists where the output would be, a file cannot be read, a key does
        not occur, there are too few atoms, the model has no features or does not know
        an element, or the projection belongs to another model.
    MissingExtraError
        If the packages of ``synthzoo[maps]`` are not installed.

    Examples
    --------
    >>> map_environments("carbon", "my_dft.xyz", "map.html")  # doctest: +SKIP
    """
    check_installed()
    files = _files(Path(output))
    with new_output(files["page"]):
        known = {} if onto is None else _known(onto, method, by)
        model = at_level(model, level)
        calculator = network_calculator(model)
        sample = take_sample(
            [sources] if isinstance(sources, (str, Path)) else sources,
            atoms=environments,
            seed=seed,
            format=format,
        )
        chosen = _Choice(
            by=tuple(dict.fromkeys(known or by or ("model",))),
            method=method or "umap",
            like=_default_likes(sample) if like is None else tuple(like),
            columns=tuple(columns),
            clusters=clusters,
            seed=seed,
        )
        return _make(_Maker(calculator, sample, chosen, known), files, model)


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """What was asked for."""

    by: tuple[str, ...]
    method: Method
    like: tuple[str, ...]
    columns: tuple[str, ...]
    clusters: int
    seed: int


@dataclass(frozen=True)
class _Maker:
    """Computes what a map shows.

    ``known``: projections onto which environments are laid, by their names.
    """

    calculator: SynthzooCalculator
    sample: Sample
    choice: _Choice
    known: dict[str, Projection]

    def described(self) -> dict[str, _Described]:
        """Return the environments by each description."""
        bar = progress_bar(
            self.choice.by, desc="lay out", unit="map", total=len(self.choice.by)
        )
        return {name: self._describe(name) for name in bar}

    def _describe(self, name: str) -> _Described:
        if name == SOAP:
            features, source = self.spectra, f"elements {self.sample.elements}"
        else:
            features = self.computed.features
            source = f"weights {self.calculator.config.weights_sha256}"
        if name not in self.known:
            choice = self.choice
            projection = fit_projection(
                features,
                name=name,
                source=source,
                method=choice.method,
                standardise=name != SOAP,
                seed=choice.seed,
            )
            return _Described(
                features=features,
                projection=projection,
                places=projection.places,
                far=None,
            )
        projection = self.known[name]
        if projection.source != source:
            raise InputError(
                f"The map was made with other {source.split()[0]} "
                f"({projection.source.split(maxsplit=1)[1]}): name the model of the "
                "map, and structures of its elements."
            )
        places, far = projection.place(features)
        return _Described(
            features=features, projection=projection, places=places, far=far
        )

    @cached_property
    def computed(self) -> Computed:
        """What the model computes for all atoms."""
        return computed_by(self.calculator, self.sample.structures)

    @cached_property
    def soap(self) -> Any:
        """SOAP for the elements of the structures."""
        return soap_for(self.sample.elements)

    @cached_property
    def spectra(self) -> NDArray[np.float32]:
        """Power spectra of all atoms."""
        return soap_features(self.sample.structures, self.soap)

    @cached_property
    def bonds(self) -> NDArray[np.int64]:
        """Number of bonds of each atom."""
        return bonds_of(self.sample.structures)

    def quantities(self, described: dict[str, _Described]) -> Iterator[Quantity]:
        """Yield what environments are coloured by."""
        yield from geometry_of(self.sample, self.bonds)
        yield from predictions_of(self.sample, self.computed)
        for like in self.choice.like:
            yield similarity_to(like, self.spectra, self.sample, self.soap)
        for key in self.choice.columns:
            yield column_of(self.sample, key)
        first = next(iter(described.values()))
        if first.far is not None:
            yield Quantity(
                name="distance to the map (1: its reach)",
                values=first.far.astype(float),
            )
        elif self.choice.clusters:
            yield _clusters(first, self.choice.clusters)


def _make(maker: _Maker, files: dict[str, Path], model: Model) -> MapSummary:
    """Compute, write all files, the page last, and return the summary."""
    sample, described = maker.sample, maker.described()
    quantities = list(maker.quantities(described))
    places = {name: each.places for name, each in described.items()}
    behind = {
        name: each.projection.places
        for name, each in described.items()
        if each.far is not None
    }
    write_projections(
        [each.projection for each in described.values()], files["projections"]
    )
    draw_maps(files["figure"], places, quantities, behind=behind)
    write_structures(files["structures"], _with_places(sample, places, quantities))
    summary = MapSummary(
        **files,
        environments=int(sample.sizes.sum()),
        said=sample.left_out(),
        separation=_separations(maker, described),
        outside=_outside(sample, described),
    )
    facts = {"model": model_name(model), "choice": asdict(maker.choice)}
    record = facts | asdict(summary) | {"versions": installed_versions()}
    write_text(files["results"], json.dumps(record, indent=1, default=str) + "\n")
    title = f"Environments of {', '.join(sample.sets)} by {model_name(model)}"
    write_page(files["page"], title, sample, places, quantities, behind=behind)
    return summary


def _files(page: Path) -> dict[str, Path]:
    """Return the files of a map by what they are in the summary."""
    if page.suffix != ".html":
        raise InputError(f"{page} is to be a page: let its name end in .html.")
    return {what: page.with_suffix(ending) for what, ending in ENDINGS.items()}


def _known(
    onto: str | Path, method: Method | None, by: Sequence[By] | None
) -> dict[str, Projection]:
    """Return the projections of an earlier map that are asked for."""
    if method is not None:
        raise InputError(f"The method is that of {onto}; leave it out with --onto.")
    known = {each.name: each for each in read_projections(_map_file(onto))}
    lacking = [name for name in by or () if name not in known]
    if lacking:
        raise InputError(
            f"The map of {onto} is by {' and '.join(known)}, not by "
            f"{' or '.join(lacking)}: leave that out with --onto."
        )
    return {name: known[name] for name in by or known}


def _map_file(onto: str | Path) -> Path:
    """Return a file that is named, or the one that comes with a model."""
    path = Path(onto)
    if path.is_file() or path.suffix == ENDINGS["projections"]:
        return path
    file = find_folder(str(onto)) / MAP_FILE
    if not file.is_file():
        having = [card.name for card in model_cards() if MAP_FILE in card.files]
        raise InputError(
            f"{onto} comes without a map, unlike {', '.join(having)}: draw one of the "
            "structures it was trained on, and give the projection of that."
        )
    return file


def _default_likes(sample: Sample) -> tuple[str, ...]:
    return tuple(CRYSTALS) if sample.elements == ["C"] else ()


def _clusters(described: _Described, count: int) -> Quantity:
    """Return clusters by BIRCH (doi 10.1145/235968.233324), which knows no seed."""
    from sklearn.cluster import Birch

    rows = described.projection.components(described.features)
    rows = rows / max(float(rows.std()), 1e-12)
    labels = Birch(n_clusters=min(count, len(rows))).fit_predict(rows)
    return Quantity(
        name="cluster",
        values=labels.astype(float),
        categories=tuple(str(number + 1) for number in range(int(labels.max()) + 1)),
    )


def _separations(
    maker: _Maker, described: dict[str, _Described]
) -> tuple[Separation, ...]:
    sample = maker.sample
    owners = sample.by_atom(range(len(sample.sizes)))
    return tuple(
        separation_of(
            name,
            each.projection.components(each.features),
            maker.bonds,
            owners,
            seed=maker.choice.seed,
        )
        for name, each in described.items()
    )


def _outside(
    sample: Sample, described: dict[str, _Described]
) -> dict[str, dict[str, float]]:
    """Return the share of each set that lies outside of the map, by description."""
    sets = sample.by_atom(sample.owners)
    return {
        name: {
            label: float((each.far[sets == number] > OUTSIDE).mean())
            for number, label in enumerate(sample.sets)
        }
        for name, each in described.items()
        if each.far is not None
    }


def _with_places(
    sample: Sample,
    places: dict[str, NDArray[np.float32]],
    quantities: Sequence[Quantity],
) -> Iterator[Any]:
    """Yield the structures with the places and colours of their atoms."""
    ends = np.cumsum(sample.sizes)[:-1]
    columns: dict[str, NDArray[Any]] = {
        f"map_{name}": where for name, where in places.items()
    }
    columns |= {
        each.name.split(" (")[0].replace(" ", "_"): each.values for each in quantities
    }
    split = {name: np.split(values, ends) for name, values in columns.items()}
    for number, atoms in enumerate(sample.structures):
        copy = atoms.copy()
        for name, parts in split.items():
            copy.set_array(f"map_{name.removeprefix('map_')}", parts[number])
        copy.calc = atoms.calc
        yield copy
