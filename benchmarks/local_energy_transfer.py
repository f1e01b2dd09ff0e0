"""What energies of atoms teach a network that is to learn those of structures.

    python benchmarks/local_energy_transfer.py dft.extxyz melts.xyz ace:c_ace.yace \
      folder --isolated -148.314002 --atoms 64 --without surf_amo

After table 1 of doi 10.1039/d2dd00137c, a network on SOAP learns the total energies of
structures of equal size; or the energies that a teacher gives the atoms of other
structures; or first these and then those. Each is measured on structures and on atoms
that it was not fitted to. What is there is not run again; the tables are in
``folder/table.md`` and are printed.
"""

from __future__ import annotations

import argparse
import copy
import sys
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from synthzoo.data.label_choice import find_label_keys
from synthzoo.data.labels import labels_of
from synthzoo.data.structures import read_structures
from synthzoo.environments.descriptors import soap_features, soap_for
from synthzoo.environments.sample import Sample, take_sample
from synthzoo.regression.environments import Environments, describe, keep, kept
from synthzoo.regression.fitting import (
    NetworkChoice,
    fit_modules,
    predict_in_parts,
    seeded,
)
from synthzoo.regression.jobs import Split
from synthzoo.regression.network import EnergyNetwork, Hidden, fit_network
from synthzoo.reports.document import markdown_table

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.records import Line, run_missing

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDS = 5
MEV = 1e3
DIRECT, LOCAL, TUNED = "direct", "pre-trained", "fine-tuned"
STRUCTURES_AT_ONCE = 8


def main() -> None:
    """Run what is not there yet, then write the tables."""
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    work = Work(options)
    found = run_missing(options.folder / "runs.jsonl", work.runs(), work.measure)
    text = tables(found)
    (options.folder / "table.md").write_text(text, encoding="utf-8")
    print(text)  # noqa: T201


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("structures", type=Path, help="With total energies.")
    parser.add_argument("local", type=Path, help="Those whose atoms are labelled.")
    parser.add_argument("teacher")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--isolated", type=float, required=True, help="An atom, in eV.")
    parser.add_argument("--atoms", type=int, required=True, help="Of a structure.")
    parser.add_argument("--without", default="", help="A config_type to leave out.")
    parser.add_argument("--environments", type=int, default=100_000)
    parser.add_argument("--pretrained-on", type=int, nargs="+", default=[])
    parser.add_argument("--sizes", type=int, nargs="+", default=[])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--visits", type=int, default=1_000_000, help="Of atoms.")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--direct-visits", type=int, default=18_000)
    parser.add_argument("--tuned-visits", type=int, default=6_000)
    parser.add_argument("--tuned-rate", type=float, default=3e-4)
    return parser.parse_args()


@dataclass(frozen=True)
class Fit:
    """A network and the energy per atom that its own are relative to."""

    module: EnergyNetwork
    offset_eV: float

    def of_atoms(self, environments: Environments) -> NDArray[np.float64]:
        """Return energies of atoms in eV."""
        spread_eV = float(self.module.spread_eV)
        return predict_in_parts(self.module, environments) * spread_eV + self.offset_eV

    def of_structures(self, structures: Environments) -> NDArray[np.float64]:
        """Return energies of structures per atom, in eV."""
        atoms = self.of_atoms(flat(structures))
        means: NDArray[np.float64] = atoms.reshape(structures.numbers.shape).mean(
            axis=1
        )
        return means


def flat(structures: Environments) -> Environments:
    """Return the atoms of structures of equal size, one after the other."""
    numbers = structures.numbers
    return Environments(
        spectra=structures.spectra.reshape(numbers.size, -1),
        numbers=numbers.reshape(-1),
        energies_eV=np.full(numbers.size, np.nan),
        groups=structures.groups.repeat(numbers.shape[1]),
    )


def fit_totals(
    start: Fit, structures: Environments, choice: NetworkChoice, offset_eV: float
) -> Fit:
    """Return a network that is fitted to energies of structures, from a start.

    ``structures``: of equal size: spectra ``(n, n_atoms, n_features)``, energies per
    atom.
    ``offset_eV``: added to what the network gives for an atom.
    """
    module = copy.deepcopy(start.module)

    def loss(
        spectra: torch.Tensor, numbers: torch.Tensor, wanted: torch.Tensor
    ) -> torch.Tensor:
        atoms = module(spectra.flatten(0, 1), numbers.flatten())
        error: torch.Tensor = atoms.view(numbers.shape).mean(dim=1) - wanted
        return error.square().mean()

    targets = (structures.energies_eV - offset_eV) / float(module.spread_eV)
    with seeded(choice.seed):
        fit_modules(
            [(module, choice.learning_rate)],
            loss,
            structures,
            targets,
            choice,
            batch_size=STRUCTURES_AT_ONCE,
        )
    return Fit(module, offset_eV)


class Work:
    """The data, and the fits that were asked for."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self._pretrained: dict[tuple[int, int], Fit] = {}

    def runs(self) -> list[Line]:
        """Return all runs: each seed leaves out a fold of its own."""
        everything = len(self.parts[0][0])
        local = len(self.local_parts[0])
        found = []
        for seed in range(self.options.seeds):
            for size in sorted({*self.options.sizes, everything}):
                known = {"structures": size, "seed": seed}
                found.append({"fit": DIRECT, "local": 0} | known)
                found += [
                    {"fit": name, "local": local} | known for name in (LOCAL, TUNED)
                ]
            for few in self.options.pretrained_on:
                found.append(
                    {"fit": TUNED, "local": few, "structures": everything, "seed": seed}
                )
        return found

    def measure(self, run: Line) -> Line:
        """Fit, and return the errors in meV: of structures per atom, and of atoms."""
        training, tested = self.parts[run["seed"] % FOLDS]
        fitted = self.structures.take(training[: run["structures"]])
        fit, shift_eV = self._fit(run, fitted)
        judged = self.structures.take(tested)
        atoms = self.local.take(self.local_parts[1])
        return {
            "dft_meV": _rmse(fit.of_structures(judged) + shift_eV, judged.energies_eV),
            "local_meV": _rmse(fit.of_atoms(atoms), atoms.energies_eV),
        }

    def _fit(self, run: Line, fitted: Environments) -> tuple[Fit, float]:
        """Return a fit, and what the total energies lie above the teacher's, per atom.

        That is one constant for each training set: both then mean the same energies.
        """
        pretrained = self.pretrained(run["local"] or len(self.local_parts[0]), run)
        shift_eV = float((fitted.energies_eV - pretrained.of_structures(fitted)).mean())
        if run["fit"] == LOCAL:
            return pretrained, shift_eV
        direct = run["fit"] == DIRECT
        options = self.options
        choice = replace(
            self.choice(run["seed"]),
            visits=options.direct_visits if direct else options.tuned_visits,
            learning_rate=options.rate if direct else options.tuned_rate,
        )
        aligned = replace(fitted, energies_eV=fitted.energies_eV - shift_eV)
        start = self.fresh(aligned, choice) if direct else pretrained
        return fit_totals(start, aligned, choice, start.offset_eV), shift_eV

    def choice(self, seed: int) -> NetworkChoice:
        """Return how a network learns energies of atoms."""
        return NetworkChoice(
            width=self.options.width,
            visits=self.options.visits,
            learning_rate=self.options.rate,
            dropout=0.0,
            seed=seed,
        )

    def fresh(self, structures: Environments, choice: NetworkChoice) -> Fit:
        """Return a network of random weights that is scaled for structures."""
        energies = structures.energies_eV
        with seeded(choice.seed):
            hidden = Hidden.of(flat(structures), choice)
            module = EnergyNetwork(hidden, choice.width, float(energies.std()))
        return Fit(module, float(energies.mean()))

    def pretrained(self, local: int, run: Line) -> Fit:
        """Return the network that has learned so many energies of atoms."""
        key = local, run["seed"]
        if key not in self._pretrained:
            environments = self.local.take(self.local_parts[0][:local])
            offset_eV = float(environments.energies_eV.mean())
            fitted = fit_network(
                environments, environments.energies_eV - offset_eV, self.choice(key[1])
            )
            self._pretrained = {key: Fit(fitted.module, offset_eV)}
        return self._pretrained[key]

    @cached_property
    def structures(self) -> Environments:
        """Structures with their total energies, per atom and above isolated atoms."""
        frames = [
            atoms
            for atoms in read_structures(self.options.structures)
            if len(atoms) == self.options.atoms
            and atoms.info.get("config_type") != self.options.without
        ]
        keys = find_label_keys(frames)
        energies = np.array([labels_of(atoms, keys).energy_eV for atoms in frames])
        elements = sorted({symbol for atoms in frames for symbol in atoms.symbols})
        shape = len(frames), self.options.atoms
        return Environments(
            spectra=soap_features(frames, soap_for(elements)).reshape(*shape, -1),
            numbers=np.array([atoms.numbers for atoms in frames]),
            energies_eV=energies / self.options.atoms - self.options.isolated,
            groups=np.arange(len(frames)),
        )

    @cached_property
    def parts(self) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Structures to fit, in random order, and to test on, of each fold."""
        return Split(self.structures, FOLDS, seed=0).parts()

    @cached_property
    def local(self) -> Environments:
        """Atoms with the energies that the teacher gives them."""
        file = self.options.folder / "environments.safetensors"
        about = {"environments": self.options.environments}
        known = kept(file, about)
        if known is None:
            known = describe(self._sample(), self.options.teacher)
            keep(file, known, about)
        return known

    def _sample(self) -> Sample:
        return take_sample(
            [self.options.local], atoms=self.options.environments, seed=0
        )

    @cached_property
    def local_parts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Atoms to fit, in random order, and to test on: of other trajectories."""
        return Split(self.local, FOLDS, seed=0).parts()[0]


def _rmse(found: NDArray[np.float64], wanted: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean((found - wanted) ** 2))) * MEV


def tables(lines: list[Line]) -> str:
    """Return the tables in the form of the paper, as Markdown."""
    most = max(line["structures"] for line in lines)
    local = max(line["local"] for line in lines)
    whole = [line for line in lines if line["structures"] == most]
    rows = [
        [name, *_errors([line for line in whole if _is(line, name, local)])]
        for name in (DIRECT, LOCAL, TUNED)
    ]
    head = ["network", "DFT (meV/atom)", "energies of atoms (meV)"]
    sections = [
        markdown_table(head, rows),
        _curve(lines, local),
        _by_local(whole),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _is(line: Line, name: str, local: int) -> bool:
    return line["fit"] == name and line["local"] in {0, local}


def _errors(lines: list[Line]) -> list[str]:
    """Return mean and standard deviation of both errors, in words."""
    return [
        f"{np.mean(values):.1f} ± {np.std(values):.1f}"
        for key in ("dft_meV", "local_meV")
        for values in ([line[key] for line in lines],)
    ]


def _curve(lines: list[Line], local: int) -> str:
    sizes = sorted({line["structures"] for line in lines})
    means = {
        name: [_mean(_dft_errors(lines, name, size, local)) for size in sizes]
        for name in (DIRECT, TUNED)
    }
    rows = [
        [str(size), f"{direct:.1f}", f"{tuned:.1f}", fewer_labels(sizes, means, size)]
        for size, direct, tuned in zip(sizes, means[DIRECT], means[TUNED], strict=True)
    ]
    head = ["structures", DIRECT, TUNED, "times fewer labels"]
    return markdown_table(head, rows)


def _dft_errors(lines: list[Line], name: str, size: int, local: int) -> list[float]:
    return [
        line["dft_meV"]
        for line in lines
        if _is(line, name, local) and line["structures"] == size
    ]


def fewer_labels(sizes: list[int], means: dict[str, list[float]], size: int) -> str:
    """Return how many times more labels a direct fit needs for the same error.

    Between sizes, the logarithm of the error is linear in that of the size.
    """
    wanted = means[TUNED][sizes.index(size)]
    direct = np.minimum.accumulate(means[DIRECT])
    if wanted > direct[0]:
        return f"< {sizes[0] / size:.1f}"
    if wanted < direct[-1]:
        return f"> {sizes[-1] / size:.1f}"
    logarithm = np.interp(
        -np.log(wanted), -np.log(direct), np.log(np.array(sizes, dtype=float))
    )
    return f"{np.exp(logarithm) / size:.1f}"


def _by_local(whole: list[Line]) -> str:
    """Return what fewer energies of atoms are worth, if that was measured."""
    counts = sorted({line["local"] for line in whole if line["local"]})
    if len(counts) < 2:
        return ""
    size = whole[0]["structures"]
    tuned = [line for line in whole if line["fit"] == TUNED]
    rows = [
        [f"{count:,}", f"{_mean(_dft_errors(tuned, TUNED, size, count)):.1f}"]
        for count in counts
    ]
    return markdown_table(["energies of atoms", f"{TUNED}: DFT (meV/atom)"], rows)


def _mean(values: list[Any]) -> float:
    return float(np.mean(values)) if values else float("nan")


if __name__ == "__main__":
    main()
