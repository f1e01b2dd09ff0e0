"""The command line parses, calls one public function, and prints."""

from __future__ import annotations

import ast
import inspect
from typing import TYPE_CHECKING

import pytest

import synthzoo
from tests.cli.test_options import all_commands

if TYPE_CHECKING:
    import click

PUBLIC = {
    "advise": {"advise"},
    "benchmark": {"run_benchmark"},
    "build": {"build_checkpoint"},
    "completion": set(),  # a script for the shell has no use in Python
    "demo": {"run_demo"},
    "distill": {"distill", "plan_distillation"},
    "estimate": {"estimate_cost"},
    "evaluate": {"evaluate_models", "measure_physics"},
    "export": {"export_model"},
    "fetch": {"fetch", "fetch_all"},
    "finetune": {"finetune", "check_data"},
    "generate": {"generate_structures"},
    "import-paper": {"import_paper"},
    "inspect": {"inspect_files"},
    "lammps": {"run_lammps"},
    "list": {"model_cards"},
    "local-energies": {"learn_local_energies"},
    "map": {"map_environments"},
    "md": {"compare_md"},
    "predict": {"predict_file"},
    "pretrain": {"pretrain"},
    "publish": {"publish"},
    "reference": {"reference_values"},
    "relabel": {"relabel_file"},
    "serve": {"serve"},
    "show": {"find_card"},
    "teachers fetch": {"find_teacher", "check_teacher_file"},
    "teachers list": {"named_teachers"},
    "teachers show": {"find_teacher"},
    "teachers test": {"examine_teacher"},
    "thin": {"thin_file"},
    "transmute": {"transmute_file"},
    "transmute-model": {"transmute_model"},
    "verify": {"verify_model"},
    "suggest": {"suggest"},
}
"""Command: what does its job in Python; two where an option asks for another job."""


def public_calls(command: click.Command) -> set[str]:
    """Return the public functions that a command calls, in its own helpers, too."""
    callback = inspect.unwrap(command.callback)  # type: ignore[arg-type]
    names = vars(inspect.getmodule(callback))
    found: set[str] = set()
    waiting = [callback]
    while waiting:
        function = waiting.pop()
        for node in ast.walk(ast.parse(inspect.getsource(function))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called.startswith("synthzoo."):
                found.add(called.removeprefix("synthzoo."))
            elif called.startswith("_") and inspect.isfunction(names.get(called)):
                waiting.append(names[called])
    return found


@pytest.mark.parametrize(("name", "command"), list(all_commands()))
def test_each_command_calls_one_public_function(
    name: str, command: click.Command
) -> None:
    """What a command does, Python can do by one call of the same job."""
    assert public_calls(command) == PUBLIC[name]
    assert PUBLIC[name] <= set(dir(synthzoo))
