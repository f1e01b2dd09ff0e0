"""What moves the atoms: ASE one replica at a time, torch-sim all of a model at once."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal, get_args

from synthzoo.errors import InputError
from synthzoo.potentials import is_network, model_name
from synthzoo.stability.protocol import Dynamics

if TYPE_CHECKING:
    from synthzoo.potentials import Model
    from synthzoo.stability.protocol import MdRecipe

Engine = Literal["ase", "torch-sim"]
ENGINES: tuple[Engine, ...] = get_args(Engine)


def check_engine(engine: str, recipe: MdRecipe, models: Sequence[Model]) -> Engine:
    """Return an engine that is there and can do what is asked for."""
    if engine == "ase":
        return "ase"
    if engine != "torch-sim":
        raise InputError(f"engine is {engine!r}, but must be {' or '.join(ENGINES)}.")
    reasons = list(_obstacles(recipe, models))
    if reasons:
        raise InputError(
            f"torch-sim cannot run this: {'; '.join(reasons)}. Use the engine ase."
        )
    if importlib.util.find_spec("torch_sim") is None:
        raise InputError(
            'torch-sim is not installed: pip install "synthzoo[torch-sim]" (for Python '
            "3.11 or newer). Otherwise use the engine ase."
        )
    return "torch-sim"


def engine_version(engine: Engine) -> str:
    """Return an engine's name and version, for the record."""
    package = "ase" if engine == "ase" else "torch-sim-atomistic"
    return f"{engine} {version(package)}"


def _obstacles(recipe: MdRecipe, models: Sequence[Model]) -> Iterator[str]:
    for stage in recipe.moving:
        if isinstance(stage, Dynamics) and stage.ensemble == "npt":
            yield f"stage {stage.name} has a barostat"
    if recipe.limits.uncertainty_eV_A is not None:
        yield "it gives no uncertainty that could be limited"
    if recipe.thermostat != "langevin":
        yield f"it has no thermostat {recipe.thermostat} here, only langevin"
    for model in models:
        if not is_network(model):
            yield f"{model_name(model)} is not a checkpoint of synthzoo"
