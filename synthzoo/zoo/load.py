"""From a reference to the calculator of a checkpoint."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from synthzoo.models.calculator import SynthzooCalculator
from synthzoo.models.checkpoint import Checkpoint, load_stored, verify_checkpoint
from synthzoo.models.place import Kernels, Place, find_place
from synthzoo.zoo.find import find_checkpoint
from synthzoo.zoo.registry import model_cards

if TYPE_CHECKING:
    from synthzoo.models.golden import Verification


class StartingPointWarning(UserWarning):
    """The checkpoint is only a start for fine-tuning, and not yet a potential."""


def load_calculator(  # noqa: PLR0913  what a user may say
    model: str | Path | Checkpoint,
    *,
    level: str | None = None,
    device: str = "auto",
    dtype: str = "float32",
    threads: int | None = None,
    compile: bool = False,
    kernels: Kernels | None = None,
) -> SynthzooCalculator:
    """Return a model as an ASE calculator, without changing any global state.

    On the CPU neither torch nor nequip is imported, unless the network is of a kind
    that synthzoo's engine does not know; that is logged.

    Parameters
    ----------
    model
        Name or alias, folder of a checkpoint, or ``hf:organisation/name``; or the
        checkpoint itself.
    level
        Level of theory, of a model that has several; its default one if not given.
    device
        ``cpu``, ``cuda``, ``cuda:1`` …, or ``auto`` for CUDA where there is one.
    dtype
        Precision of the model; ``float64`` for phonons and tight optimisations.
    threads
        How many may compute on the CPU; one for each physical core if not given, or
        fewer if the environment variable ``OMP_NUM_THREADS`` says so.
    compile
        Whether torch compiles the network for the GPU (by AOTInductor). That takes
        minutes at the first time; the result is kept in the cache. On the CPU only
        networks that synthzoo's engine does not know are compiled.
    kernels
        Library for the tensor products of the network on a GPU, if it is installed:
        ``openequivariance`` or ``cuequivariance``.

    Raises
    ------
    InputError
        If there is no such level, device or dtype, if kernels are asked for on the CPU,
        or for an absurd number of threads.
    MissingExtraError
        If the kernels are not installed.
    SynthzooError
        If the network cannot be compiled, or if compiled code or kernels do not give
        the results of the network.
    UnknownModelError
        If no model has that name.
    CheckpointError
        If the checkpoint is damaged, or its network is not of a known kind.

    Examples
    --------
    >>> from ase.build import bulk
    >>> atoms = bulk("C")
    >>> atoms.calc = load_calculator("carbon")
    >>> atoms.get_forces().shape
    (2, 3)
    """
    place = find_place(Place(device=device, compiled=compile, kernels=kernels))
    checkpoint = find_checkpoint(model)
    if level is not None:
        checkpoint = checkpoint.at(level)
    stored = load_stored(checkpoint, dtype=dtype)
    if stored.config.kind == "starting-point":
        warnings.warn(
            f"{model} is a starting point, not yet a potential: its energies and "
            "forces mean nothing before it is fine-tuned.",
            StartingPointWarning,
            stacklevel=2,
        )
    return SynthzooCalculator(
        stored, place=place, threads=threads, advise=models_that_know
    )


def verify_model(model: str | Path, *, device: str = "cpu") -> Verification:
    """Recompute the predictions that are stored with a checkpoint, and compare.

    Of a model of several levels of theory, all levels are computed.

    Parameters
    ----------
    model
        Name or alias, folder of a checkpoint, or ``hf:organisation/name``.
    device
        Where to compute: ``cpu``, ``cuda``, ``cuda:1`` …, or ``auto``.

    Raises
    ------
    SynthzooError
        If the model cannot be loaded, as for `load_calculator`.

    Examples
    --------
    >>> verify_model("carbon").passed
    True
    """
    return verify_checkpoint(find_checkpoint(model), device=device)


def models_that_know(elements: Collection[str]) -> str:
    """Return a sentence on which models of the zoo know all of these elements."""
    able = [card.name for card in model_cards() if set(elements) <= set(card.elements)]
    if able:
        return f"These models of the zoo know all its elements: {', '.join(able)}."
    return (
        "No model of the zoo knows all its elements; `synthzoo pretrain` makes "
        "one from structures that a teacher has labelled."
    )
