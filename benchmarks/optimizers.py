"""Errors and CPU time of fits by Adam, Muon and SOAP: same network, data and batches.

    python benchmarks/optimizers.py labelled.xyz heldout.xyz out --seeds 1 2 3
        --tries adam:0.01:12 muon:0.1:11 soap:0.01:9

A try is an optimizer, its learning rate and the number of epochs. Everything else is
that of the recipe `carbon-ace-2k`. SOAP is that of the package pytorch-optimizer. It
has the weights that Muon would have, and Adam the others. A run that was stopped goes
on where it was.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from records import run_missing  # type: ignore[import-not-found]

from synthzoo import evaluate_models, pretrain
from synthzoo.recipes.loading import load_recipe
from synthzoo.training.recipe import FitRecipe, PretrainRecipe

if TYPE_CHECKING:
    import torch

RECIPE = "carbon-ace-2k"
OPTIMIZERS = ("adam", "muon", "soap")
SHOWN = {
    "validation_force_eV_A": 3,
    "validation_energy_meV": 1,
    "held_out_force_eV_A": 3,
    "held_out_energy_meV": 1,
    "gradient_s": 0,
    "step_s": 0,
}
"""What the table has of each try, and with how many digits."""


class Try(NamedTuple):
    """An optimizer, its learning rate and the number of epochs."""

    optimizer: str
    rate: float
    epochs: int


def main() -> None:
    """Run all tries with all seeds, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="labelled structures to fit")
    parser.add_argument("held_out", type=Path, help="others, for errors")
    parser.add_argument("output", type=Path, help="folder of checkpoints and record")
    parser.add_argument("--tries", nargs="+", type=_try, required=True)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    options = parser.parse_args()
    options.output.mkdir(exist_ok=True)
    runs = [
        {**each._asdict(), "seed": seed}
        for seed in options.seeds
        for each in options.tries
    ]
    lines = run_missing(
        options.output / "record.jsonl",
        runs,
        lambda run: _measure(run, options.data, options.held_out, options.output),
    )
    for each in options.tries:
        _tell(each, [line for line in lines if _is_of(line, each, options.seeds)])


def _is_of(line: dict[str, Any], each: Try, seeds: list[int]) -> bool:
    return each._asdict().items() <= line.items() and line["seed"] in seeds


def _try(text: str) -> Try:
    optimizer, rate, epochs = text.split(":")
    if optimizer not in OPTIMIZERS:
        raise argparse.ArgumentTypeError(f"choose from {', '.join(OPTIMIZERS)}")
    return Try(optimizer, float(rate), int(epochs))


def _measure(
    run: dict[str, Any], data: Path, held_out: Path, output: Path
) -> dict[str, Any]:
    """Fit once; return the errors, and the CPU time of all gradients and all steps."""
    from synthzoo.training import module

    recipe = load_recipe(PretrainRecipe, RECIPE)
    fit = replace(recipe.fit, seed=run["seed"], max_epochs=run["epochs"])
    own, rate = module.make_optimizer, run["rate"]
    match run["optimizer"]:
        case "adam":
            fit = replace(fit, optimizer="adam", learning_rate=rate)
        case "muon":
            fit = replace(fit, optimizer="muon", muon_rate=rate)
        case "soap":
            module.make_optimizer = partial(_soap, rate=rate)
    clock = _timed()
    place = output / "-".join(str(value) for value in run.values())
    made = pretrain(replace(recipe, fit=fit), data, place)
    module.make_optimizer = own
    (found,) = evaluate_models([place], held_out)
    return {
        "validation_force_eV_A": made.force_rmse_eV_A,
        "validation_energy_meV": made.energy_rmse_meV_per_atom,
        "held_out_force_eV_A": found.groups[0].force_rmse_eV_A,
        "held_out_energy_meV": found.groups[0].energy_rmse_meV_per_atom,
        "steps": made.steps,
        **clock,
    }


def _timed() -> dict[str, float]:
    """Let fits run a clock, and return it."""
    from synthzoo.models.learning import AveragedFit

    clock = {"gradient_s": 0.0, "step_s": 0.0}
    untimed = AveragedFit.__mro__[1].optimizer_step

    def optimizer_step(
        module: Any, epoch: int, batch: int, optimizer: Any, closure: Any
    ) -> None:
        def gradient() -> Any:
            started = time.process_time()
            loss = closure()
            clock["gradient_s"] += time.process_time() - started
            return loss

        before, started = clock["gradient_s"], time.process_time()
        untimed(module, epoch, batch, optimizer, gradient)
        spent = time.process_time() - started
        clock["step_s"] += spent - (clock["gradient_s"] - before)

    AveragedFit.optimizer_step = optimizer_step
    return clock


def _soap(
    network: torch.nn.Module, recipe: FitRecipe, *, rate: float
) -> torch.optim.Optimizer:
    """Return SOAP for the matrices, which are views of the weights, and Adam."""
    import torch
    from pytorch_optimizer import SOAP  # type: ignore[import-not-found]

    from synthzoo.models.learning import matrices

    blocks = matrices(network)
    weights = list(network.parameters())
    views = [
        (torch.nn.Parameter(block.of(weight.data)), weight, block)
        for weight, parts in blocks.items()
        for block in parts
    ]

    class Both(torch.optim.Optimizer):
        def __init__(self) -> None:
            super().__init__(weights, {"lr": rate})
            self.soap = SOAP([view for view, *_ in views], lr=rate, weight_decay=0.0)
            self.adam = torch.optim.Adam(
                [weight for weight in weights if weight not in blocks],
                betas=(0.9, recipe.adam_beta2),
            )

        def step(self, closure: Any = None) -> Any:
            loss = closure()
            now = self.param_groups[0]["lr"]
            self.soap.param_groups[0]["lr"] = now
            self.adam.param_groups[0]["lr"] = now * recipe.learning_rate / rate
            for view, weight, block in views:
                view.grad = None if weight.grad is None else block.of(weight.grad)
            self.soap.step()
            self.adam.step()
            return loss

    return Both()


def _tell(each: Try, lines: list[dict[str, Any]]) -> None:
    """Print a row: means and standard deviations over the seeds."""
    cells = [each.optimizer, f"{each.rate:g}", str(each.epochs)]
    for key, digits in SHOWN.items():
        values = [line[key] for line in lines]
        spread = np.std(values, ddof=1) if len(values) > 1 else math.nan
        cells.append(f"{np.mean(values):.{digits}f} ± {spread:.{digits}f}")
    print("|", " | ".join(cells), "|")  # noqa: T201


if __name__ == "__main__":
    main()
