"""Each kind of part is tied to what makes it."""

from typing import get_args

import numpy as np
import pytest

from synthzoo.generation.kinds.from_atoms import Dimers
from synthzoo.generation.kinds.part import Part
from synthzoo.generation.parts import MAKERS, Work
from synthzoo.generation.species import Species


def test_every_kind_of_part_has_its_maker():
    """A part that a recipe may name can be made and estimated."""
    assert set(MAKERS) == set(get_args(Part))


def test_a_part_without_dynamics_has_no_calculator():
    """A maker that asks for a driver has to say what its dynamics cost."""
    part = Dimers(count=1, distance_A=(1.0, 1.0))
    work = Work(
        part=part, item=0, species=Species(("C",)), rng=np.random.default_rng(0)
    )
    with pytest.raises(ValueError, match="dimers have no dynamics"):
        _ = work.mover
