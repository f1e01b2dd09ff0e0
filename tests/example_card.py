"""A complete model card, of which a test changes the part it is about."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from synthzoo.models.config import MODEL_FILES
from synthzoo.zoo.registry import file_record

BODY = """
# A tiny model

<!-- table: results -->

Made for tests.

<!-- table: files -->
"""


def example_head(**changes: Any) -> dict[str, Any]:
    """Return the head of a card as plain values.

    Parameters
    ----------
    changes
        Values that replace those under `synthzoo:`.
    """
    head = copy.deepcopy(_HEAD)
    head["synthzoo"].update(changes)
    return head


def write_card(
    folder: Path, head: Mapping[str, Any] | None = None, *, body: str = BODY
) -> Path:
    """Write a card under the name that its head gives and return its path."""
    head = example_head() if head is None else head
    path = folder / f"{head['synthzoo']['name'].replace('/', '-')}.md"
    text = yaml.safe_dump(dict(head), sort_keys=False, allow_unicode=True)
    path.write_text(f"---\n{text}---\n{body}", encoding="utf-8")
    return path


def files_of(checkpoint: Path) -> dict[str, dict[str, Any]]:
    """Return what a card says under `files` about the checkpoint in a folder."""
    return {
        name: dataclasses.asdict(file_record(checkpoint / name)) for name in MODEL_FILES
    }


_HEAD: dict[str, Any] = {
    "license": "mit",
    "library_name": "synthzoo",
    "tags": ["materials-science"],
    "synthzoo": {
        "name": "tiny-carbon",
        "aliases": ["tiny"],
        "summary": "Carbon for tests",
        "kind": "potential",
        "elements": ["C"],
        "cutoff_A": 4,
        "parameters": 1234,
        "teacher": {
            "name": "ace",
            "potential": "c_ace.yace",
            "version": "0.4",
            "sha256": "a" * 64,
            "licence": "CC-BY-4.0",
            "reference": "10.1000/example",
            "level_of_theory": "PBE",
        },
        "files": {
            "config.json": {"size": 10, "sha256": "b" * 64},
            "model.safetensors": {"size": 20, "sha256": "c" * 64},
            "golden.safetensors": {"size": 30, "sha256": "d" * 64},
        },
        "hub": {"repository": None, "revision": None},
        "training": {
            "structures": 100,
            "atoms": 3200,
            "seconds": 60.5,
            "hardware": "two CPU cores",
            "recipe": "recipes/tiny.yaml",
        },
        "results": [
            {
                "data": "held-out | synthetic",
                "structures": 12,
                "energy_rmse_meV_per_atom": 12.34,
                "force_rmse_eV_A": 0.4567,
                "note": "same labels as in training",
                "command": "synthzoo evaluate tiny held-out.xyz",
            }
        ],
        "reference_values": {
            "teacher": "ace",
            "crystals": {
                "diamond": {
                    "a_A": 3.57,
                    "energy_eV_per_atom": -7.4,
                    "volumes_A3_per_atom": [5.0, 5.7, 6.4],
                    "energies_eV_per_atom": [-7.2, -7.4, -7.2],
                },
                "graphene": {"a_A": 2.46, "energy_eV_per_atom": -7.5},
            },
        },
        "citation": "@misc{tiny,\n  title = {Tiny}\n}\n",
    },
}
