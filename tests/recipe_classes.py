"""The class of each section of a recipe file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthzoo.finetuning.recipe import FinetuneRecipe
from synthzoo.generation.recipe import GenerateRecipe
from synthzoo.labelling.recipe import RelabelRecipe
from synthzoo.stability.protocol import MdRecipe
from synthzoo.training.recipe import PretrainRecipe

if TYPE_CHECKING:
    from synthzoo.recipes.schema import Section

CLASSES: tuple[type[Section], ...] = (
    GenerateRecipe,
    RelabelRecipe,
    PretrainRecipe,
    FinetuneRecipe,
    MdRecipe,
)
SECTIONS = {cls.section: cls for cls in CLASSES}
