"""Model cards: heads become checked records, records become pages and tables."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from synthzoo.errors import InputError
from synthzoo.zoo.card_records import Crystal, FileRecord
from synthzoo.zoo.cards import model_table, read_card, render_card
from tests.example_card import example_head, write_card


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the example's head with one value replaced, or removed if ``...``."""
    head = copy.deepcopy(example_head())
    *parents, last = path.split("/")
    target: Any = head
    for parent in parents:
        target = target[int(parent) if parent.isdecimal() else parent]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return head


def test_a_card_becomes_a_record(tmp_path: Path):
    """Every fact of the head is an attribute, of the right type."""
    card = read_card(write_card(tmp_path))
    assert card.names == ("tiny-carbon", "tiny")
    assert (card.licence, card.tags) == ("mit", ("materials-science",))
    assert (card.elements, card.cutoff_A) == (("C",), 4.0)
    assert card.files["config.json"] == FileRecord(size=10, sha256="b" * 64)
    assert card.results[0].energy_rmse_meV_per_atom == 12.34
    assert card.reference_values is not None
    assert card.reference_values.crystals["graphene"] == Crystal(
        a_A=2.46, energy_eV_per_atom=-7.5
    )


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("synthzoo/colour", "red", r"synthzoo: unknown keys \['colour'\]. Known"),
        ("author", "me", r"unknown keys \['author'\]"),
        ("synthzoo/teacher/sha", "a", r"synthzoo\.teacher: unknown keys \['sha'\]"),
        ("synthzoo/teacher/licence", ..., r"teacher: missing keys \['licence'\]"),
        ("synthzoo/cutoff_A", True, r"cutoff_A: expected a num.*, found True \(bo"),
        ("synthzoo/cutoff_A", -1.0, r"cutoff_A: expected a number above 0, found -1"),
        ("synthzoo/cutoff_A", float("nan"), r"cutoff_A: expected a num.*, found nan"),
        ("synthzoo/parameters", 1.5, r"parameters: expected a whole number"),
        ("synthzoo/elements", "CSi", r"elements: expected a list, found 'CSi'"),
        ("synthzoo/elements", [], r"elements: expected at least one entry"),
        ("synthzoo/elements", ["C", "C"], r"elements: expected no entry twice"),
        ("synthzoo/elements", ["carbon"], r"elements\[0\]: expected a chemical symbol"),
        ("synthzoo/kind", "toy", r"kind: expected one of \['potential'"),
        ("synthzoo/summary", "a\nb", r"summary: expected one line"),
        ("synthzoo/name", "other", None),
        ("synthzoo/aliases", ["Tiny"], r"aliases\[0\]: expected small letters"),
        ("synthzoo/files/config.json/size", "10", r"files\.config\.json\.size: exp"),
        ("synthzoo/files/config.json/sha256", "ab", r"sha256: expected 64 hexadec"),
        ("synthzoo/files/config.json", ..., r"files: expected \['config.json', 'mod"),
        ("synthzoo/levels", ["rpa", "pbe"], r"files: expected .*levels\.safetensors"),
        ("synthzoo/files/x.pkl", {"size": 1, "sha256": "a" * 64}, r"files: expected"),
        ("synthzoo/hub/revision", "a" * 40, r"hub: expected a repository with its rev"),
        ("synthzoo/hub", {"repository": "me", "revision": "a" * 40}, r"organisation/"),
        ("synthzoo/hub", {"repository": "a/b", "revision": "main"}, r"full commit"),
        ("synthzoo/results/0/structures", 0, r"results\[0\]\.structures: expected a w"),
        ("synthzoo/results/0/note", 3, r"synthzoo\.results\[0\]\.note: expected a te"),
        ("synthzoo/citation", "Tiny et al.", r"citation: expected a BibTeX entry"),
        (
            "synthzoo/reference_values/crystals/diamond/volumes_A3_per_atom",
            [1.0],
            r"crystals\.diamond: expected as many volumes as energies",
        ),
    ],
)
def test_a_malformed_head_is_refused(
    tmp_path: Path, path: str, value: Any, message: str | None
):
    """The error names the file, the key, what was expected and what was found."""
    card = write_card(tmp_path)
    head = changed(path, value)
    if message is None:
        card = card.rename(card.with_name("elsewhere.md"))
        message = r"synthzoo\.name: expected the file's name 'elsewhere'"
        head = example_head()
    card.write_text(f"---\n{yaml.safe_dump(head)}---\n", encoding="utf-8")
    with pytest.raises(InputError, match=f"^{re.escape(str(card))}: .*{message}"):
        read_card(card)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# No head\n", "expected a YAML head between two lines `---`"),
        ("---\nlicense: mit\n", "expected a YAML head between"),
        ("---\nlicense: [\n---\n", "not valid YAML"),
        ("---\nlicense: mit\nlicense: bsd\n---\n", r"keys given twice: \['license'\]"),
        ("---\n- 1\n---\n", "expected keys and values"),
    ],
)
def test_a_file_that_is_not_a_card_is_refused(tmp_path: Path, text: str, message: str):
    """Text without a sound YAML head gives one clear error."""
    path = tmp_path / "x.md"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_card(path)


def test_bytes_that_are_not_text_are_refused(tmp_path: Path):
    """A binary file in the folder of cards is named in the error."""
    path = tmp_path / "x.md"
    path.write_bytes(b"---\n\xff\xfe")
    with pytest.raises(InputError, match=r"x\.md cannot be read as text"):
        read_card(path)


def test_the_page_shows_the_tables_made_from_the_head(tmp_path: Path):
    """Numbers stand in the head only; the page repeats them in its tables."""
    card = read_card(write_card(tmp_path))
    page = render_card(card)
    assert page.startswith(f"---\n{card.head}---\n")
    assert "<!-- table" not in page
    assert (
        "| held-out \\| synthetic | 12 | 12.3 | 0.457 | same labels as in training "
        "| `synthzoo evaluate tiny held-out.xyz` |" in page
    )
    assert f"| `config.json` | 10 | `{'b' * 64}` |" in page
    assert "Made for tests." in page


def test_a_page_is_itself_a_card(tmp_path: Path):
    """What is published can be read back with the same facts."""
    card = read_card(write_card(tmp_path))
    copied = tmp_path / "copy"
    copied.mkdir()
    page = copied / "tiny-carbon.md"
    page.write_text(render_card(card), encoding="utf-8")
    assert read_card(page).results == card.results


def test_a_table_that_does_not_exist_is_refused(tmp_path: Path):
    """A misspelt marker is not left in the page."""
    card = read_card(write_card(tmp_path, body="<!-- table: result -->\n"))
    with pytest.raises(InputError, match=r"no table 'result'\. Known tables: \['resu"):
        render_card(card)


def test_the_table_of_models_has_a_row_for_each(tmp_path: Path):
    """Name, alias, elements and first result; a model without results says so."""
    untested = example_head(name="untested", aliases=[], results=[])
    cards = [read_card(write_card(tmp_path, head)) for head in (None, untested)]
    lines = model_table(cards).splitlines()
    assert len(lines) == 2 + 2
    assert lines[2] == (
        "| `tiny-carbon`, `tiny` | C | c_ace.yace | 1,234 | 12.3 | 0.457 "
        "| held-out \\| synthetic | – |"
    )
    assert lines[3].endswith("| – | – | not measured | – |")


def test_known_failures_stand_in_the_page_and_in_the_table_of_models(tmp_path: Path):
    """Their titles stand beside the errors, their numbers beside the teacher's."""
    value = {"quantity": "layer distance (Å)", "model": 2.69, "teacher": 3.4}
    failure = {"title": "false graphite", "summary": "No.", "values": [value]}
    head = example_head(known_failures=[failure])
    card = read_card(
        write_card(tmp_path, head, body="<!-- table: known failures -->\n")
    )
    assert "| Failure | Quantity | This model | ace |" in render_card(card)
    row = "| false graphite | layer distance (Å) | 2.69 | 3.4 |"
    assert row in render_card(card)
    assert model_table([card]).endswith("| false graphite |")


def test_an_energy_that_cannot_be_compared_is_a_dash(tmp_path: Path):
    """A missing energy error is not shown as a number."""
    head = changed("synthzoo/results/0/energy_rmse_meV_per_atom", None)
    card = read_card(write_card(tmp_path, head))
    assert "| – | 0.457 |" in model_table([card])
