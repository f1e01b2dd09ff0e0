"""Search the defaults of fine-tuning on draws of a labelled set, and keep every run.

    python benchmarks/finetuning_defaults.py carbon train.extxyz runs.jsonl \
        --sizes 10 25 100 --draws 0 1 --rates 1e-3 3e-3 --visits 500

    python benchmarks/finetuning_defaults.py carbon train.extxyz runs.jsonl \
        --sizes 10 25 100 400 --draws 0 1 2 \
        --candidates benchmarks/finetuning_candidates.yaml

The second form tries a short list for each size instead of all combinations. A fixed
part of the set judges; draws come from the rest: no test file is needed, and related
frames are on one side. --kinds takes some kinds of structures only: small cells, for
instance. Each run is one line of the output, and runs that are there already are not
repeated; a table of the means over the draws is written beside it. --replay mixes the
zoo's synthetic structures in, by these shares.

Energies are aligned by the mean over the drawn structures, as `finetune` does. To see
what happens otherwise, --misfits leaves so much of it (eV/atom) to the fit; --fresh
starts from random weights.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
import yaml
from nequip.data import AtomicDataDict

from synthzoo.data.label_choice import find_label_keys
from synthzoo.data.labels import labels_of
from synthzoo.data.structures import group_of, kind_of, read_structures
from synthzoo.finetuning.plan import starting_calculator
from synthzoo.finetuning.recipe import FinetuneRecipe, ReplayLabels
from synthzoo.finetuning.replay import ZOO, find_replay, read_synthetic
from synthzoo.models.checkpoint import load_model
from synthzoo.models.graphs import Graph, sizes_of, to_graph
from synthzoo.models.isolation import nequip_session
from synthzoo.models.network import build_model
from synthzoo.reports.document import markdown_table
from synthzoo.training.batches import AtomBatches, Loader, Mixed
from synthzoo.training.fit import fit
from synthzoo.training.recipe import FitRecipe
from synthzoo.zoo.find import find_checkpoint

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.records import run_missing

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.models.config import CheckpointConfig

BATCH = 256
PARTS = ("embedding", "layer0", "layer1", "layer2", "layer3")


def main() -> None:
    """Run what is not there yet."""
    options = _options()
    torch.set_num_threads(1)
    model, config = load_model(find_checkpoint(options.model))
    structures = _structures(options)
    graphs = _graphs(structures, config.elements, config.cutoff_A)
    judging, pool = _parts(structures, options.judges)
    judges = [graphs[index] for index in judging]
    replay = _replay(options, config) if options.replay else []
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def measure(line: dict[str, Any]) -> dict[str, Any]:
        run = line["run"]
        drawn = np.random.default_rng(int(run["draw"])).permutation(pool)
        model.load_state_dict(
            build_model(config, seed=int(run["draw"])).state_dict()
            if options.fresh
            else before
        )
        started = time.process_time()
        training = [graphs[index] for index in drawn[: int(run["size"])]]
        with nequip_session(), tempfile.TemporaryDirectory() as folder:
            torch.set_num_threads(1)
            found = _run(model, (training, replay), judges, run, Path(folder))
        return found | {"cpu_seconds": round(time.process_time() - started, 1)}

    runs = [{"run": run} for run in _runs(options)]
    lines = run_missing(options.output, runs, measure)
    options.output.with_suffix(".md").write_text(_table(lines))


def _table(found: list[dict[str, Any]]) -> str:
    """Return the means over the draws, and how many there are, by size and setting."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for line in found:
        setting = {key: value for key, value in line["run"].items() if key != "draw"}
        groups.setdefault(json.dumps(setting), []).append(line)
    varied = [
        name
        for name in json.loads(next(iter(groups)))
        if len({json.dumps(json.loads(key).get(name)) for key in groups}) > 1
    ]
    measured = ("energy", "forces", "training_forces", "cpu_seconds")
    rows = []
    for key, lines in groups.items():
        means = (np.mean([line[name] for line in lines]) for name in measured)
        settings = (str(json.loads(key).get(name)) for name in varied)
        rows.append((*settings, str(len(lines)), *(f"{mean:.4g}" for mean in means)))
    return markdown_table((*varied, "draws", *measured), rows) + "\n"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[25])
    parser.add_argument("--draws", type=int, nargs="+", default=[0])
    parser.add_argument("--rates", type=float, nargs="+", default=[3e-3])
    parser.add_argument("--visits", type=int, nargs="+", default=[1000])
    parser.add_argument("--batch-atoms", type=int, nargs="+", default=[240])
    parser.add_argument("--energy-weights", type=float, nargs="+", default=[10.0])
    parser.add_argument("--ema", type=float, nargs="+", default=[0.99])
    parser.add_argument("--decay-start", type=float, nargs="+", default=[0.0])
    parser.add_argument("--pulls", type=float, nargs="+", default=[0.0])
    parser.add_argument("--frozen-layers", type=int, nargs="+", default=[0])
    parser.add_argument("--rate-factors", type=float, nargs="+", default=[1.0])
    parser.add_argument("--clips", type=float, nargs="+", default=[20.0])
    parser.add_argument("--replay", type=float, nargs="+", help="Shares of a batch.")
    parser.add_argument(
        "--replay-labels",
        choices=get_args(ReplayLabels),
        default=FinetuneRecipe().replay_labels,
    )
    parser.add_argument("--misfits", type=float, nargs="+", default=[0.0])
    parser.add_argument("--judges", type=int, default=146)
    parser.add_argument("--kinds", nargs="+", help="Of structures; all if not given.")
    parser.add_argument("--candidates", type=Path)
    parser.add_argument("--fresh", action="store_true")
    return parser.parse_args()


def _runs(options: argparse.Namespace) -> list[dict[str, Any]]:
    if options.candidates:
        return _candidates(options)
    names = {
        "draw": options.draws,
        "size": options.sizes,
        "rate": options.rates,
        "visits": options.visits,
        "batch_atoms": options.batch_atoms,
        "energy_weight": options.energy_weights,
        "ema": options.ema,
        "decay_start": options.decay_start,
        "pull": options.pulls,
        "frozen_layers": options.frozen_layers,
        "rate_factor": options.rate_factors,
        "clip": options.clips,
        "misfit": options.misfits,
    }
    fixed: dict[str, Any] = {"judges": options.judges, "fresh": options.fresh}
    if options.kinds:
        fixed["kinds"] = options.kinds
    if options.replay:
        names["replay"] = options.replay
        fixed["replay_labels"] = options.replay_labels
    return [
        dict(zip(names, values, strict=True)) | fixed
        for values in itertools.product(*names.values())
    ]


def _candidates(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the runs of a file: by size, a list of what differs from the defaults."""
    listed = yaml.safe_load(options.candidates.read_text())
    first = argparse.Namespace(**vars(options) | {"candidates": None})
    first.sizes = first.draws = [0]
    (common,) = _runs(first)
    return [
        common | {"draw": draw, "size": size, **candidate}
        for size in options.sizes
        for draw in options.draws
        for candidate in listed[size]
    ]


def _structures(options: argparse.Namespace) -> list[Atoms]:
    return [
        atoms
        for atoms in read_structures(options.data)
        if len(atoms) > 2 and (not options.kinds or kind_of(atoms) in options.kinds)
    ]


def _parts(structures: list[Atoms], judges: int) -> tuple[list[int], list[int]]:
    """Return who judges, and the others in a random order: no group is in both."""
    groups: dict[str, list[int]] = {}
    for index, atoms in enumerate(structures):
        groups.setdefault(group_of(atoms), []).append(index)
    members = list(groups.values())
    order = np.random.default_rng(0).permutation(len(members))
    judging: list[int] = []
    pool: list[int] = []
    for number in order:
        (judging if len(judging) < judges else pool).extend(members[number])
    return judging, pool


def _graphs(
    structures: list[Atoms], elements: tuple[str, ...], cutoff_A: float
) -> list[Graph]:
    keys = find_label_keys(structures)
    return [
        to_graph(atoms, labels_of(atoms, keys), elements=elements, cutoff_A=cutoff_A)
        for atoms in structures
    ]


def _replay(options: argparse.Namespace, config: CheckpointConfig) -> list[Graph]:
    """Return the zoo's synthetic structures, as `finetune --replay zoo` mixes them."""
    start = starting_calculator(find_checkpoint(options.model))
    mixed = read_synthetic(
        find_replay(ZOO, config), start, labels=options.replay_labels
    ).mixed
    return [
        to_graph(atoms, labels, elements=config.elements, cutoff_A=config.cutoff_A)
        for atoms, labels in zip(mixed.structures, mixed.labels, strict=True)
    ]


def _run(
    model: torch.nn.Module,
    fitted: tuple[list[Graph], list[Graph]],
    judges: list[Graph],
    run: dict[str, Any],
    folder: Path,
) -> dict[str, float]:
    training, replay = fitted
    offset = float(np.mean(_residuals(model, training)[0])) + run["misfit"]
    training = [_shifted(graph, offset) for graph in training]
    judges = [_shifted(graph, offset) for graph in judges]
    batches = len(AtomBatches(sizes_of(training), int(run["batch_atoms"]), 0))
    recipe = FitRecipe(
        seed=int(run["draw"]),
        batch_atoms=int(run["batch_atoms"]),
        max_epochs=math.ceil(run["visits"] / len(training)),
        learning_rate=run["rate"],
        warmup_steps=20,
        decay_start=run["decay_start"],
        ema_decay=run["ema"],
        energy_weight=run["energy_weight"],
        gradient_clip=run["clip"],
        keep="last",
        pull=run["pull"],
        layer_rate_factor=run["rate_factor"],
        frozen=tuple(PARTS[: int(run["frozen_layers"])]),
        replay_share=run.get("replay") or FitRecipe().replay_share,
    )
    result = fit(
        model.train(),
        recipe,
        training=training,
        validation=[],
        folder=folder,
        mixed=[Mixed(replay, recipe.replay_share)],
    )
    energies, forces = _residuals(result.model, judges)
    train_energies, train_forces = _residuals(result.model, training)
    return {
        "energy": round(1000 * _rms(energies), 2),
        "energy_no_mean": round(1000 * float(np.std(energies)), 2),
        "forces": round(_rms(forces), 4),
        "training_energy": round(1000 * _rms(train_energies), 2),
        "training_forces": round(_rms(train_forces), 4),
        "offset": round(offset, 4),
        "steps": recipe.max_epochs * batches,
    }


def _shifted(graph: Graph, offset: float) -> Graph:
    energy = graph[AtomicDataDict.TOTAL_ENERGY_KEY]
    moved = energy + offset * AtomicDataDict.num_nodes(graph)
    return {**graph, AtomicDataDict.TOTAL_ENERGY_KEY: moved}


def _residuals(
    model: torch.nn.Module, graphs: list[Graph]
) -> tuple[np.ndarray, np.ndarray]:
    """Return model minus label: energies per atom, and all force components."""
    energies, forces = [], []
    model.eval()
    for batch in Loader(graphs, AtomBatches(sizes_of(graphs), BATCH, 0)):
        output = model(dict(batch))
        counts = batch[AtomicDataDict.NUM_NODES_KEY].reshape(-1, 1)
        key = AtomicDataDict.TOTAL_ENERGY_KEY
        energies.append(((output[key] - batch[key]) / counts).detach().numpy())
        key = AtomicDataDict.FORCE_KEY
        forces.append((output[key] - batch[key]).detach().numpy().reshape(-1, 3))
    return np.concatenate(energies).ravel(), np.concatenate(forces).ravel()


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


if __name__ == "__main__":
    main()
