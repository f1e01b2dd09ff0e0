"""All kinds of structures that a recipe can ask for: one frozen struct for each."""

from __future__ import annotations

from synthzoo.generation.kinds.from_atoms import Dimers, MeltQuench, Packing
from synthzoo.generation.kinds.from_file import Around, ShortDynamics
from synthzoo.generation.kinds.from_prototypes import Compressed, Crystals, Surfaces
from synthzoo.generation.kinds.relaxed import Relaxed
from synthzoo.generation.kinds.sheets import Layers, Networks

Part = (
    Packing
    | MeltQuench
    | Crystals
    | Surfaces
    | Compressed
    | Layers
    | Networks
    | Relaxed
    | Dimers
    | Around
    | ShortDynamics
)
