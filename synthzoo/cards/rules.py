"""What a card may not say although each of its values may be."""

from __future__ import annotations

from collections.abc import Iterator

from synthzoo.cards.card import NO_LICENCE, ModelCard


def complaints(card: ModelCard) -> Iterator[tuple[str, str]]:
    """Yield the key and the fault of whatever does not go together.

    Parameters
    ----------
    card
        As it was read.
    """
    from synthzoo.checkpoint import MODEL_FILES

    if card.name.replace("/", "-") != card.path.stem:
        yield "synthzoo.name", f"expected the file's name {card.path.stem!r}."
    if (card.hub.repository is None) != (card.hub.revision is None):
        yield "synthzoo.hub", "expected a repository with its revision, or neither."
    expected = () if card.published else MODEL_FILES
    if set(card.files) != set(expected):
        yield "synthzoo.files", f"expected {list(expected)}, found {[*card.files]}."
    if (card.licence == NO_LICENCE) != (card.published is not None):
        yield "license", f"expected {NO_LICENCE!r} for what others published, only."
    crystals = card.reference_values.crystals if card.reference_values else {}
    for name, crystal in crystals.items():
        if len(crystal.volumes_A3_per_atom) != len(crystal.energies_eV_per_atom):
            yield (
                f"synthzoo.reference_values.crystals.{name}",
                "expected as many volumes as energies.",
            )
