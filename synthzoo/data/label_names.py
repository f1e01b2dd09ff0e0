"""What the name of a key says: which label it is, and who computed it."""

from __future__ import annotations

import re
from enum import IntEnum
from functools import cache

PREDICTED_BY = "predicted_by"
"""Key in ``Atoms.info``: which model and which versions made the labels."""

VIRIAL = "virial"
"""In a key: minus the volume times the stress, as GAP and MACE write it."""


class Standing(IntEnum):
    """Whose labels are read first where a set has those of several sources.

    Those that a teacher of synthzoo has just made come before all others.
    """

    TAUGHT = 0
    REFERENCE = 1
    UNMARKED = 2
    OTHER = 3
    MODEL = 4
    PART = 5


def _words(text: str) -> re.Pattern[str]:
    """Return a pattern of whole words, digits and spaces around them being free."""
    choices = "|".join(text.split())
    return re.compile(rf"(?<![a-z])(?:{choices})\d*(?![a-z])")


_REFERENCE = _words(
    "ref reference dft qm target true exact truth lda gga pbe pbesol revpbe rpbe pw91 "
    "scan r2scan rscan blyp b3lyp pbe0 hse bp86 wb97[a-z]* mp2 ccsd ccsdt dlpno hf "
    "vasp castep gpaw qe espresso quantum_?espresso pwscf cp2k fhi_?aims aims abinit "
    "siesta orca gaussian psi4 nwchem qchem turbomole molpro onetep quickstep"
)
_MODEL = _words(
    "predict predicted prediction pred model ml mlip mlp mlff nn nnp synthzoo mace gap "
    "ace pace nequ_?ip allegro nep chgnet m3gnet matgl mattersim matter_?sim "
    "seven_?net 7net orb grace schnet painn gemnet ani[0-9a-z]* aimnet snap mtp dp "
    "deep_?md dpa eam meam tersoff lcbop airebo reax reaxff lj edip"
)
_PART = re.compile(
    "formation|cohesive|binding|atomi[sz]ation|interaction|adsorption|surface|"
    "dispersion|vdw|exchange|correlation|nuclear|repulsion|electrostatic|coulomb|"
    "solvation"
)
"""Differences of energies, and terms of them."""
_NO_LABEL = re.compile(
    "sigma|weight|unit|kinetic|per_?atom|isolated|error|std|uncert|varian|shift|delta|"
    "toler|cut_?off|ewald|fermi|zero_?point|hull|converg|mask|constrain|residual|"
    "threshold|band_?gap|correction|offset"
)
"""What a key holds that speaks of energy, forces or stress but is not the label."""
_NO_LABEL_WORDS = _words(
    "tol max min mean avg average rms rmse mae err norm var scale factor diff"
)
_LABEL_WORDS = _words(
    "energy energies e etot toten tot total potential pot free forces? stress(?:es)? "
    "virials?"
)
_SHORT_ENERGY = re.compile(r"e|e_?tot|toten|tot(?:al)?_en(?:g)?")


@cache
def could_be(what: str, key: str) -> bool:
    """Return whether a key is named like a label.

    ``what``: ``"energy"``, ``"forces"`` or ``"stress"``.
    ``key``: name in ``Atoms.info`` or ``Atoms.arrays``.

    Examples
    --------
    >>> [could_be("energy", key) for key in ("TotEnergy", "E_dft", "elec_energy_tol")]
    [True, True, False]
    """
    name = _snake(key)
    if _NO_LABEL.search(name) or _NO_LABEL_WORDS.search(name):
        return False
    if what == "forces":
        return "force" in name
    if what == "stress":
        return "stress" in name or VIRIAL in name
    return "energ" in name or _is_short_energy(name)


def _is_short_energy(name: str) -> bool:
    """Return whether a name is E, Etot, E_dft or the like."""
    if _SHORT_ENERGY.fullmatch(name):
        return True
    marked = _REFERENCE.search(name) or _MODEL.search(name)
    return marked is not None and "e" in name.split("_")


@cache
def standing(key: str) -> Standing:
    """Return whose label a key holds, as far as its name says.

    ``key``: name in ``Atoms.info`` or ``Atoms.arrays``.

    Examples
    --------
    >>> [standing(key).name for key in ("dft_energy", "Energy", "gap17_energy")]
    ['REFERENCE', 'UNMARKED', 'MODEL']
    """
    name = _snake(key)
    if _PART.search(name):
        return Standing.PART
    if _MODEL.search(name):
        return Standing.MODEL
    if _REFERENCE.search(name):
        return Standing.REFERENCE
    return Standing.OTHER if source(key) else Standing.UNMARKED


@cache
def source(key: str) -> str:
    """Return what is left of a key without the words for the label itself.

    ``key``: name in ``Atoms.info`` or ``Atoms.arrays``.

    Examples
    --------
    >>> source("ace_energy"), source("forces_ACE"), source("energy")
    ('ace', 'ace', '')
    """
    return re.sub("[^a-z0-9]+", "_", _LABEL_WORDS.sub("", _snake(key))).strip("_")


@cache
def is_free_energy(key: str) -> bool:
    """Return whether a key names the free energy of the electrons.

    ``key``: name in ``Atoms.info``.
    """
    return "free" in _snake(key).split("_")


def _snake(key: str) -> str:
    """Return a key in lower case, its words joined by underscores."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[^A-Za-z0-9]+", "_", key).lower()
