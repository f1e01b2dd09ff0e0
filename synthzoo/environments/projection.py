"""From the features of environments to places in a plane, and back to the same plane.

A projection keeps the environments that it was made of, so that others can be placed
among them: between the nearest ones.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from synthzoo.errors import InputError, MissingExtraError, one_line
from synthzoo.runs.files import write_arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

ARRAYS = ("mean", "axes", "rows", "places")
HALF = ("rows", "places")
"""Kept in half precision."""

Method = Literal["umap", "tsne", "pca"]

MIN_DIST = 0.3
"""UMAP's least distance in the plane: lets dense regions spread."""
KEPT_COMPONENTS = 64
"""Principal components of the features in which distances are measured."""
LEAST_SPREAD = 1e-6
"""Of a feature that is not the same everywhere."""
NEIGHBOURS = 30
"""Of an environment, which keep near to it in the plane."""
LEAST_ENVIRONMENTS = 10
NEAREST = 5
"""Environments of the map between which another one is placed."""
PACKAGES = ("dscribe", "openTSNE", "plotly", "sklearn", "umap")
USUAL_SHARE = 0.99
"""Share of a map's own environments that count as near to others of it."""


@dataclass(frozen=True, kw_only=True)
class Projection:
    """A map to which environments can be added.

    ``name``: what describes environments: ``model`` or ``soap``.
    ``source``: what tells that descriptor from others, such as a hash of weights.
    ``mean``, ``axes``: the principal components of the features, standardised or as
    they are: ``(n_features,)`` and ``(n_features, n_components)``.
    ``rows``: components of the map's environments, ``(n, n_components)``.
    ``places``: where they are in the plane, ``(n, 2)``.
    ``reach``: how far an environment of the map is from the nearest other one, except
    for one in a hundred.
    """

    name: str
    source: str
    method: str
    mean: NDArray[np.float32]
    axes: NDArray[np.float32]
    rows: NDArray[np.float32]
    places: NDArray[np.float32]
    reach: float

    def components(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the principal components of features, ``(n, n_components)``."""
        return _components(features, self.mean, self.axes)

    def place(
        self, features: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return places of other environments, and how far they are from the map's.

        The distance is that to the nearest one over the map's reach: above 1, the map
        has nothing like it.
        """
        from sklearn.neighbors import NearestNeighbors

        nearest = NearestNeighbors(n_neighbors=min(NEAREST, len(self.rows)))
        nearest.fit(self.rows)
        distances, indices = nearest.kneighbors(self.components(features))
        weights = 1.0 / np.maximum(distances, 1e-6 * self.reach + 1e-12)
        weights /= weights.sum(axis=1, keepdims=True)
        places = np.einsum("ij,ijk->ik", weights, self.places[indices])
        far = distances[:, 0] / max(self.reach, 1e-12)
        return places.astype(np.float32), far.astype(np.float32)


def check_installed() -> None:
    """Raise `MissingExtraError` if what makes maps is not installed."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"Maps need {', '.join(missing)}: pip install 'synthzoo[maps]'."
        )


def fit_projection(
    features: NDArray[np.float32],
    *,
    name: str,
    source: str,
    method: Method = "umap",
    standardise: bool = True,
    seed: int = 0,
) -> Projection:
    """Lay environments out in a plane so that like ones are close.

    ``features``: of shape ``(n_environments, n_features)``.
    ``name``, ``source``: as in `Projection`.
    ``standardise``: whether each feature counts by its standard deviation. Those of a
    network differ much in size, most of which is the energy alone.
    """
    if len(features) < LEAST_ENVIRONMENTS:
        raise InputError(
            f"A map needs at least {LEAST_ENVIRONMENTS} atoms, not {len(features)}."
        )
    mean, axes = _principal_axes(features, standardise=standardise)
    rows = _components(features, mean, axes)
    return Projection(
        name=name,
        source=source,
        method=method,
        mean=mean,
        axes=axes,
        rows=rows,
        places=_METHODS[method](rows, min(NEIGHBOURS, len(rows) - 1), seed),
        reach=_reach(rows),
    )


def _principal_axes(
    features: NDArray[np.float32], *, standardise: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    from sklearn.decomposition import PCA

    kept = min(KEPT_COMPONENTS, *features.shape)
    spread = np.maximum(features.std(axis=0), LEAST_SPREAD)
    scales = 1 / spread if standardise else np.ones_like(spread)
    found = PCA(n_components=kept, svd_solver="covariance_eigh").fit(features * scales)
    axes = scales[:, None] * found.components_.T
    return features.mean(axis=0), axes.astype(np.float32)


def _components(
    features: NDArray[np.float32],
    mean: NDArray[np.float32],
    axes: NDArray[np.float32],
) -> NDArray[np.float32]:
    return np.asarray((features - mean) @ axes, dtype=np.float32)


def _reach(rows: NDArray[np.float32]) -> float:
    """Return how far environments are from the nearest other one, but for a few."""
    from sklearn.neighbors import NearestNeighbors

    distances, _ = NearestNeighbors(n_neighbors=2).fit(rows).kneighbors(rows)
    return float(np.quantile(distances[:, 1], USUAL_SHARE))


def _umap(rows: NDArray[np.float32], neighbours: int, seed: int) -> NDArray[np.float32]:
    """Return places by UMAP (arXiv:1802.03426)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # TensorFlow, which it can use
        from umap import UMAP
    umap = UMAP(n_neighbors=neighbours, min_dist=MIN_DIST, random_state=seed, n_jobs=1)
    return np.asarray(umap.fit_transform(rows), dtype=np.float32)


def _tsne(rows: NDArray[np.float32], neighbours: int, seed: int) -> NDArray[np.float32]:
    """Return places by t-SNE (doi 10.18637/jss.v109.i03)."""
    from openTSNE import TSNE

    found = TSNE(perplexity=neighbours / 3, random_state=seed, n_jobs=1).fit(rows)
    return np.asarray(found, dtype=np.float32)


def _pca(rows: NDArray[np.float32], *_: int) -> NDArray[np.float32]:
    """Return the first two principal components."""
    return np.pad(rows[:, :2], ((0, 0), (0, max(0, 2 - rows.shape[1]))))


_METHODS: dict[str, Callable[[NDArray[np.float32], int, int], NDArray[np.float32]]] = {
    "umap": _umap,
    "tsne": _tsne,
    "pca": _pca,
}


def write_projections(projections: Sequence[Projection], path: Path) -> None:
    """Write projections as one file; places and components are kept to three digits."""
    arrays: dict[str, NDArray[Any]] = {}
    facts: dict[str, dict[str, Any]] = {}
    for each in projections:
        values = asdict(each)
        for name in ARRAYS:
            half = np.float16 if name in HALF else np.float32
            arrays[f"{each.name}.{name}"] = values.pop(name).astype(half)
        facts[each.name] = values
    write_arrays(path, arrays, {"projections": json.dumps(facts)})


def read_projections(path: Path) -> list[Projection]:
    """Return the projections of a file; raise `InputError` if it is not one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads((file.metadata() or {})["projections"])
            return [
                Projection(
                    **values,
                    **{
                        key: file.get_tensor(f"{name}.{key}").astype(np.float32)
                        for key in ARRAYS
                    },
                )
                for name, values in facts.items()
            ]
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is no projection of `synthzoo map`: {one_line(error)}."
        ) from error
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.") from error
