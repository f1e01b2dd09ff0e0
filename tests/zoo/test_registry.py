"""The register: names find cards, and cards the files of this installation."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from synthzoo.errors import InputError, UnknownModelError
from synthzoo.models.checkpoint import read_config
from synthzoo.models.config import files_of
from synthzoo.zoo import registry
from synthzoo.zoo.card_records import FileRecord
from synthzoo.zoo.cards import render_card
from tests.example_card import example_head, write_card


@pytest.fixture
def cards(tmp_path: Path) -> Path:
    """Return a folder with two cards."""
    write_card(tmp_path)
    write_card(tmp_path, example_head(name="tiny-silicon", aliases=[], elements=["Si"]))
    return tmp_path


@pytest.mark.parametrize("name", ["tiny-carbon", "tiny"])
def test_a_model_is_found_by_name_and_alias(cards: Path, name: str):
    """Both lead to the same card."""
    assert registry.find_card(name, cards).name == "tiny-carbon"


def test_cards_are_sorted_by_name(cards: Path):
    """The order of a list does not depend on the file system."""
    names = [card.name for card in registry.model_cards(cards)]
    assert names == ["tiny-carbon", "tiny-silicon"]


def test_an_unknown_name_is_answered_with_the_nearest_ones(cards: Path):
    """A slip of the finger is corrected."""
    with pytest.raises(UnknownModelError) as caught:
        registry.find_card("Tiny-Carbn", cards)
    assert str(caught.value).startswith(
        "No model named 'Tiny-Carbn'. Did you mean 'tiny-carbon'"
    )
    assert str(caught.value).endswith("See `synthzoo list`.")


def test_a_name_unlike_any_other_gets_no_suggestion(cards: Path):
    """No far-fetched guess is made."""
    with pytest.raises(UnknownModelError, match=r"^No model named 'zzz'\. See `synth"):
        registry.find_card("zzz", cards)


def test_the_name_of_a_replaced_model_leads_to_its_heir(cards: Path):
    """Whoever wrote it into a script learns what to write instead."""
    write_card(cards, example_head(replaces=["tiny-old"]))
    with pytest.raises(UnknownModelError) as caught:
        registry.find_card("tiny-old", cards)
    assert str(caught.value) == (
        "No model named 'tiny-old'. tiny-carbon has replaced it. Did you mean 'tiny'? "
        "See `synthzoo list`."
    )


def test_a_name_taken_twice_is_refused(cards: Path):
    """An alias that another model has as its name would be ambiguous."""
    write_card(cards, example_head(name="other", aliases=["tiny-carbon"]))
    with pytest.raises(InputError, match=r"'tiny-carbon' is taken by .*other\.md"):
        registry.model_cards(cards)


def test_the_record_of_a_file_is_its_size_and_hash(tmp_path: Path):
    """As a card states them."""
    path = tmp_path / "config.json"
    path.write_bytes(b"config.json")
    sha256 = hashlib.sha256(b"config.json").hexdigest()
    assert registry.file_record(path) == FileRecord(size=11, sha256=sha256)


def test_half_a_checkpoint_is_refused(tmp_path: Path):
    """The missing files are named."""
    (tmp_path / "config.json").touch()
    with pytest.raises(InputError, match=r"\['model.safetensors', 'golden.safetenso"):
        registry.require_whole(tmp_path)


def test_every_card_of_this_installation_is_sound():
    """Each can be read, rendered and found by all its names."""
    for card in registry.model_cards():
        assert "<!-- table" not in render_card(card)
        for name in card.names:
            assert registry.find_card(name) is card


def test_bundled_files_are_those_on_record():
    """The weights in the package are the ones that their cards describe."""
    for card in registry.model_cards():
        folder = registry.bundled_folder(card)
        if folder is not None:
            assert set(files_of(folder)) == set(card.files)
            for name in card.files:
                assert registry.file_record(folder / name) == card.files[name]


def test_the_figures_of_all_cards_are_there_and_no_others():
    """Each picture that a card shows lies beside the cards, and each is shown."""
    folder = registry.cards_folder()
    shown = {
        name
        for card in registry.model_cards()
        for name in re.findall(r"!\[[^\]]*\]\((\S+)\)", card.body)
    }
    there = {str(path.relative_to(folder)) for path in folder.rglob("*.png")}
    assert shown == there


def test_bundled_weights_belong_to_a_card():
    """No folder of weights lies in the package without its card."""
    folders = (Path(registry.__file__).parent / "weights").glob("*/")
    names = {card.name for card in registry.model_cards()}
    assert {folder.name for folder in folders} <= names


@pytest.mark.parametrize("place", ["synthzoo/zoo/model_cards", "model_cards"])
def test_cards_are_found_in_a_wheel_and_beside_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
):
    """A wheel carries the cards inside the package, a checkout beside it."""
    (tmp_path / place).mkdir(parents=True)
    monkeypatch.setattr(
        registry, "__file__", str(tmp_path / "synthzoo" / "zoo" / "x.py")
    )
    assert registry.cards_folder() == tmp_path / place


def test_an_installation_without_cards_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A broken installation is not taken for an empty zoo."""
    monkeypatch.setattr(
        registry, "__file__", str(tmp_path / "synthzoo" / "zoo" / "x.py")
    )
    with pytest.raises(InputError, match="no folder model_cards in "):
        registry.cards_folder()


def test_the_register_is_read_without_heavy_imports():
    """Listing the zoo loads no machine learning and no client of the hub."""
    code = (
        "import sys; from synthzoo.zoo import find, registry; "
        "[find.location(card) for card in registry.model_cards()]; "
        "heavy = {'torch', 'nequip', 'ase', 'huggingface_hub', 'numpy'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_checkpoint_has_its_card_wherever_it_is():
    """It is known by what it holds: a copy has the card, another model has not."""
    for card in registry.model_cards():
        folder = registry.bundled_folder(card)
        if folder is not None:
            config = read_config(folder)
            assert registry.card_of(config) == card
            for name in ("weights_sha256", "golden_sha256"):
                other = dataclasses.replace(config, **{name: "0" * 64})  # type: ignore[arg-type]
                assert registry.card_of(other) is None


def test_a_converted_checkpoint_has_the_card_of_its_file():
    """What the file does not say must be as on the card, too."""
    card = registry.find_card("paper/ace-10k")
    assert card.published is not None
    some = read_config(registry.bundled_folder(registry.find_card("carbon")) or "")
    converted = dataclasses.replace(
        some,
        cutoff_A=card.cutoff_A,
        arguments={"avg_num_neighbors": card.published.avg_num_neighbors},
        weights_sha256="0" * 64,  # its own, whatever the machine is
        provenance={"source_sha256": card.published.file.sha256},
    )
    assert registry.card_of(converted) == card
    another = dataclasses.replace(converted, arguments={"avg_num_neighbors": 9.0})
    assert registry.card_of(another) is None
