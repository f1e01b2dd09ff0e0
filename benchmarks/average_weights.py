"""Average the weights of a checkpoint and of one that was trained on from it.

    python benchmarks/average_weights.py carbon-ace-45k ./second-fit 0.7 averaged

The result is (1 - SHARE) times FIRST plus SHARE times SECOND. It is good only
if both lie in one valley of the loss; measure it.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch
from ase.build import bulk

from synthzoo.models.checkpoint import load_model, write_checkpoint
from synthzoo.models.isolation import nequip_session
from synthzoo.potentials import find_checkpoint


@click.command(help=__doc__)
@click.argument("first")
@click.argument("second")
@click.argument("share", type=click.FloatRange(0, 1))
@click.argument("output", type=click.Path(path_type=Path))
def main(first: str, second: str, share: float, output: Path) -> None:
    """Write the average as a checkpoint of FIRST's description."""
    golden = bulk("C", cubic=True)
    golden.rattle(0.1, seed=1)
    with nequip_session():
        model, config = load_model(find_checkpoint(first, needed_for="an average"))
        other, theirs = load_model(find_checkpoint(second, needed_for="an average"))
        if config.arguments != theirs.arguments:
            raise click.UsageError("The two networks have different shapes.")
        with torch.no_grad():
            for value, end in zip(model.parameters(), other.parameters(), strict=True):
                value.lerp_(end, share)
        write_checkpoint(output, model=model.eval(), config=config, golden=[golden])


if __name__ == "__main__":
    main()
