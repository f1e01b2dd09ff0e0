"""Maps of environments."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk, graphene
from ase.calculators.singlepoint import SinglePointCalculator

from synthzoo import (
    SynthzooError,
    features,
    fetch,
    load_calculator,
    map_environments,
)
from synthzoo.data.structures import read_structures, write_structures
from synthzoo.environments.descriptors import computed_by
from synthzoo.environments.projection import (
    Method,
    fit_projection,
    read_projections,
)
from synthzoo.environments.quantities import predictions_of
from synthzoo.environments.sample import take_sample
from synthzoo.models.config import MAP_FILE
from tests.extras import need

MODEL = "carbon-ace-2k"


@pytest.fixture(autouse=True)
def _packages():
    need("umap", "maps")
    need("plotly", "maps")


def shaken(kind: str, seed: int):
    if kind == "diamond":
        atoms = bulk("C", cubic=True) * (1, 1, 2)
    else:
        atoms = graphene(size=(3, 3, 1), vacuum=8.0)
        atoms.pbc = (True, True, False)
    atoms.rattle(0.05, seed=seed)
    atoms.info["temperature"] = float(seed)
    return atoms


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a file of diamonds, and one of graphenes with forces of zero."""
    folder = tmp_path_factory.mktemp("sets")
    files = {}
    for kind in ("diamond", "graphene"):
        structures = [shaken(kind, seed) for seed in range(6)]
        for atoms in structures if kind == "graphene" else ():
            forces = np.zeros((len(atoms), 3))
            atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=forces)
        files[kind] = folder / f"{kind}.xyz"
        write_structures(files[kind], structures)
    return files


@pytest.fixture(scope="module")
def drawn(sets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory):
    """Return the summary of a map of both, by the model and by SOAP."""
    return map_environments(
        MODEL,
        list(sets.values()),
        tmp_path_factory.mktemp("map") / "both.html",
        by=("model", "soap"),
        method="pca",
        columns=["temperature"],
    )


def test_environments_of_different_crystals_lie_apart(drawn):
    """Atoms with three bonds and with four do not mix, in either description."""
    assert drawn.environments == 6 * 16 + 6 * 18
    assert drawn.said == ""
    assert [each.by for each in drawn.separation] == ["model", "soap"]
    for each in drawn.separation:
        assert each.purity > 0.99
        assert each.silhouette > 0.3


def test_structures_come_with_places_and_colours(drawn):
    """The file of structures has all that the picture shows, atom by atom."""
    first, *_, last = read_structures(drawn.structures)
    crystals = "diamond", "graphite"
    for atoms, bonds, own in ((first, 4, 0), (last, 3, 1)):
        assert atoms.arrays["map_model"].shape == (len(atoms), 2)
        assert atoms.arrays["map_soap"].shape == (len(atoms), 2)
        assert (atoms.arrays["map_bonds"] == bonds).all()
        likeness = [atoms.arrays[f"map_similarity_to_{name}"] for name in crystals]
        assert (likeness[own] > likeness[1 - own]).all()
    assert (last.arrays["map_temperature"] == 5.0).all()
    assert first.arrays["map_set"].max() == 0.0
    assert last.arrays["map_set"].min() == 1.0


def test_force_errors_are_shown_where_there_are_labels(drawn):
    """The diamonds have none; graphene's are 0, so that all forces are errors."""
    first, *_, last = read_structures(drawn.structures)
    assert np.isnan(first.arrays["map_force_error"]).all()
    assert last.arrays["map_force_error"].min() > 0


def test_each_set_has_its_own_key_of_forces(sets: dict[str, Path], tmp_path: Path):
    """One of ASE's, the other one a reference's."""
    renamed = tmp_path / "renamed.xyz"
    structures = read_structures(sets["graphene"])
    for atoms in structures:
        atoms.info["REF_energy"] = 0.0
        atoms.set_array("REF_forces", np.zeros((len(atoms), 3)))
        atoms.calc = None
    write_structures(renamed, structures)
    sample = take_sample([sets["graphene"], renamed], atoms=216, seed=0)
    computed = computed_by(load_calculator(MODEL), sample.structures)
    _, errors = predictions_of(sample, computed)
    assert errors.values[:108] == pytest.approx(errors.values[108:], rel=1e-3)
    assert errors.values.min() > 0


def test_page_holds_its_data_and_needs_no_network(drawn):
    """Every point has its atom; nothing is loaded from elsewhere."""
    text = drawn.page.read_text()
    found = re.search(r'id="content" type="application/json">(.*?)</script>', text)
    assert found is not None
    content = json.loads(found[1])
    assert len(content["structure"]) == len(content["atom"]) == drawn.environments
    assert [each["name"] for each in content["maps"]] == ["model", "soap"]
    assert all(len(q["values"]) == drawn.environments for q in content["quantities"])
    assert not re.search(r'<(script|link|img)[^>]+(src|href)="http', text)


CLICKED = """() => {
    const map = document.getElementById("map");
    const points = map.data.find(each => each.customdata);
    const number = Math.floor(points.x.length / 3);
    const {xaxis, yaxis, _size} = map._fullLayout;
    return [
        xaxis.c2p(points.x[number]) + _size.l,
        yaxis.c2p(points.y[number]) + _size.t,
        points.customdata[number],
    ];
}"""
"""Where a point lies in the picture, and the number of its environment."""


@pytest.mark.long
def test_a_click_in_a_browser_shows_the_structure(drawn):
    """Without a network, in Chromium, in each colour; the page reports no error."""
    sync = pytest.importorskip("playwright.sync_api", reason="no playwright")
    browser = shutil.which("chromium") or pytest.skip("no chromium")
    with sync.sync_playwright() as program:
        running = program.chromium.launch(
            executable_path=browser, args=["--no-sandbox"]
        )
        page = running.new_page(viewport={"width": 1500, "height": 950})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.context.set_offline(True)
        page.goto(drawn.page.as_uri())
        page.wait_for_function("document.getElementById('map').data?.length")
        for colour in page.locator("#colour option").all_inner_texts():
            page.select_option("#colour", label=colour)
            before = page.inner_text("#facts")
            x, y, _ = page.evaluate(CLICKED)
            box = page.locator("#map").bounding_box()
            page.mouse.move(box["x"] + x, box["y"] + y)
            page.mouse.click(box["x"] + x, box["y"] + y)
            page.wait_for_function(
                "before => document.getElementById('facts').innerText != before",
                arg=before,
            )
            assert re.search(r"C1[68]", page.inner_text("#facts"))
            page.reload()
            page.wait_for_function("document.getElementById('map').data?.length")
        running.close()
    assert errors == []


def test_another_set_is_laid_onto_a_map(sets: dict[str, Path], drawn, tmp_path: Path):
    """Known environments come to lie where they were; unknown ones are told."""
    odd = tmp_path / "odd.xyz"
    write_structures(odd, [bulk("C", "sc", a=1.8) * (2, 2, 2)])
    again = map_environments(
        MODEL,
        [sets["graphene"], odd],
        tmp_path / "again.html",
        onto=drawn.projections,
    )
    assert set(again.outside) == {"model", "soap"}
    for shares in again.outside.values():
        assert shares["graphene"] <= 0.05
        assert shares["odd"] == 1.0
    before, after = (read_structures(each.structures) for each in (drawn, again))
    assert after[0].arrays["map_model"] == pytest.approx(
        before[6].arrays["map_model"], abs=0.01
    )


def test_a_projection_of_another_model_is_refused(
    sets: dict[str, Path], drawn, tmp_path: Path
):
    """Features of one network mean nothing for another."""
    with pytest.raises(SynthzooError, match="made with other weights"):
        map_environments(
            "carbon-ace-3k",
            sets["graphene"],
            tmp_path / "map.html",
            onto=drawn.projections,
        )


def test_the_map_of_carbon_knows_diamond():
    """Crushed to a third of its volume, it is not among what `carbon` has learned."""
    (model,) = read_projections(fetch("carbon") / MAP_FILE)
    for a, known in ((3.57, True), (2.4, False)):
        _, far = model.place(features("carbon", bulk("C", a=a)))
        assert (far < 1).all() == known


@pytest.mark.thorough
def test_a_set_is_laid_onto_the_map_of_a_model(sets: dict[str, Path], tmp_path: Path):
    """By its name; the projection that is written is as readable as the page."""
    summary = map_environments(
        "carbon", sets["diamond"], tmp_path / "mine.html", onto="carbon"
    )
    assert summary.outside == {"model": {"diamond": 0.0}}
    assert summary.projections.stat().st_mode == summary.page.stat().st_mode


def test_what_is_no_projection_is_refused(sets: dict[str, Path], tmp_path: Path):
    """With its name."""
    with pytest.raises(SynthzooError, match=r"diamond.xyz is no projection"):
        map_environments(
            MODEL, sets["graphene"], tmp_path / "map.html", onto=sets["diamond"]
        )


@pytest.mark.parametrize(
    ("output", "options", "message"),
    [
        ("map.png", {}, r"name end in \.html"),
        ("map.html", {"columns": ["pressure"]}, "under 'pressure'"),
        ("map.html", {"like": ["silicon.xyz"]}, "silicon.xyz"),
        ("map.html", {"onto": "nowhere.safetensors"}, "nowhere.safetensors"),
    ],
)
def test_bad_input_is_named(
    sets: dict[str, Path],
    tmp_path: Path,
    output: str,
    options: dict[str, Any],
    message: str,
):
    """One line each."""
    with pytest.raises(SynthzooError, match=message):
        map_environments(
            MODEL, sets["graphene"], tmp_path / output, method="pca", **options
        )


@pytest.mark.parametrize(
    ("onto", "by", "message"),
    [
        ("nowhere", None, "No model named 'nowhere'"),
        (MODEL, None, f"{MODEL} comes without a map, unlike carbon-"),
        ("carbon", None, "name the model of the map"),
        ("carbon", ["soap"], "The map of carbon is by model, not by soap"),
    ],
)
def test_a_map_that_cannot_be_laid_onto_is_named(
    sets: dict[str, Path], tmp_path: Path, onto: str, by: Any, message: str
):
    """Without a method, which is that of the map."""
    with pytest.raises(SynthzooError, match=message):
        map_environments(
            MODEL, sets["graphene"], tmp_path / "map.html", onto=onto, by=by
        )


def test_too_few_atoms_make_no_map(tmp_path: Path):
    """Neighbours need somebody to be near."""
    write_structures(tmp_path / "few.xyz", [bulk("C")])
    with pytest.raises(SynthzooError, match="at least 10 atoms, not 2"):
        map_environments(MODEL, tmp_path / "few.xyz", tmp_path / "map.html")


def test_large_sets_are_sampled_evenly(sets: dict[str, Path], tmp_path: Path):
    """A set takes its share and no more; what a small one leaves goes to others."""
    few = tmp_path / "few.xyz"
    write_structures(few, [shaken("diamond", 0)])
    sample = take_sample([sets["graphene"], few], atoms=60, seed=0)
    assert sample.owners == (0, 0, 0, 1)
    assert sample.available == (108, 16)
    assert sample.left_out().startswith("Shown are 54 of the 108 atoms of graphene")


@pytest.mark.thorough
@pytest.mark.parametrize("method", ["umap", "tsne"])
def test_methods_keep_kinds_apart_and_repeat(method: Method):
    """Two clouds stay two clouds; the same seed gives the same map."""
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(200, 8)).astype(np.float32)
    rows[100:] += 12.0
    one, two = (
        fit_projection(rows, name="model", source="", method=method, seed=1)
        for _ in range(2)
    )
    assert np.array_equal(one.places, two.places)
    centres = one.places[:100].mean(axis=0), one.places[100:].mean(axis=0)
    spread = max(half.std(axis=0).max() for half in np.split(one.places, 2))
    assert np.linalg.norm(centres[0] - centres[1]) > 3 * spread


def test_projections_survive_the_file(drawn):
    """What is read is what was fitted, to three digits."""
    (model, soap) = read_projections(drawn.projections)
    assert (model.method, model.name, soap.name) == ("pca", "model", "soap")
    assert model.rows.shape == (drawn.environments, 32)
    structures = read_structures(drawn.structures)
    again, _ = model.place(computed_by(load_calculator(MODEL), structures).features)
    assert again == pytest.approx(model.places, abs=0.02)
    assert soap.places[:, 0].std() > 0
