"""Loading a model leaves the caller's process as it was."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synthzoo.models.isolation import nequip_session, preserved_process_state
from synthzoo.zoo.load import load_calculator

FRESH_PROCESS = """
import json, os, random, sys, warnings
import numpy as np, torch
from ase.build import bulk  # it loads SciPy, which adds a filter

def state():
    backends = torch.backends
    return {
        "environment": dict(os.environ),
        "filters": [str(entry) for entry in warnings.filters],
        "formatwarning": str(warnings.formatwarning),
        "showwarning": str(warnings.showwarning),
        "python": str(random.getstate()),
        "numpy": str(np.random.get_state()),
        "torch": torch.get_rng_state().tolist(),
        "dtype": str(torch.get_default_dtype()),
        "threads": torch.get_num_threads(),
        "sharing": torch.multiprocessing.get_sharing_strategy(),
        "precision": torch.get_float32_matmul_precision(),
        "tf32": [backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32],
        "grad": torch.is_grad_enabled(),
        "folder": sorted(os.listdir()),
    }

random.seed(1), np.random.seed(2), torch.manual_seed(3)
warnings.simplefilter("error", ResourceWarning)
torch.set_num_threads(2)
before = state()
from synthzoo import load_calculator
imported = state()
calculator = load_calculator(sys.argv[1], device="cpu")
loaded = state()
calculator.calculate(bulk("C"))
used = state()
for name, after in {"import": imported, "load": loaded, "use": used}.items():
    for key in before:
        assert before[key] == after[key], (name, key, before[key], after[key])
draws = [random.random(), np.random.rand(), torch.rand(1).item()]
from torch._dynamo import config
from nequip.utils.global_state import global_state_initialized, set_global_state
print(json.dumps({
    "draws": draws,
    "dynamo": config.capture_scalar_outputs,
    "initialised": global_state_initialized(),
    "dtype after nequip's own": (set_global_state(), str(torch.get_default_dtype()))[1],
}))
"""


def expected_draws() -> list[float]:
    """Return the next numbers after the seeds of the fresh process."""
    with preserved_process_state():
        random.seed(1)
        np.random.seed(2)  # noqa: NPY002  what users' scripts have
        torch.manual_seed(3)
        return draws()


def draws() -> list[float]:
    """Return one number of each global generator."""
    return [random.random(), np.random.rand(), torch.rand(1).item()]  # noqa: NPY002, S311


@pytest.mark.thorough
def test_first_load_in_a_fresh_process_changes_nothing(
    tiny_checkpoint: Path, tmp_path: Path
):
    """Import, load and use leave all process state and the next random numbers."""
    done = subprocess.run(
        [sys.executable, "-c", FRESH_PROCESS, str(tiny_checkpoint)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found["draws"] == expected_draws()
    assert found["dynamo"] is False
    # nequip's own loaders, used later by the same script, must still set it up.
    assert found["initialised"] is False
    assert found["dtype after nequip's own"] == "torch.float64"


def test_loading_raises_no_warnings(tiny_checkpoint: Path):
    """A script that turns all warnings into errors can load a model."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_calculator(tiny_checkpoint, device="cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_loading_keeps_the_default_dtype(tiny_checkpoint: Path, dtype: torch.dtype):
    """Whatever default dtype the caller has chosen is there after loading."""
    with preserved_process_state():
        torch.set_default_dtype(dtype)
        load_calculator(tiny_checkpoint, device="cpu")
        assert torch.get_default_dtype() == dtype


def fail_inside() -> None:
    """Raise an error while nequip's settings are on."""
    with nequip_session():
        assert torch.get_default_dtype() == torch.float64
        raise RuntimeError("inside")


def test_state_is_restored_after_an_error():
    """An error inside the block does not leave nequip's settings behind."""
    before = torch.get_default_dtype(), os.environ.get("PL_GLOBAL_SEED")
    with pytest.raises(RuntimeError, match="inside"):
        fail_inside()
    assert (torch.get_default_dtype(), os.environ.get("PL_GLOBAL_SEED")) == before


def test_environment_comes_back(monkeypatch: pytest.MonkeyPatch):
    """New variables go, changed ones and deleted ones come back."""
    monkeypatch.setenv("SYNTHZOO_TEST_CHANGED", "before")
    monkeypatch.setenv("SYNTHZOO_TEST_DELETED", "before")
    with preserved_process_state():
        os.environ["SYNTHZOO_TEST_NEW"] = "inside"
        os.environ["SYNTHZOO_TEST_CHANGED"] = "inside"
        del os.environ["SYNTHZOO_TEST_DELETED"]
    assert "SYNTHZOO_TEST_NEW" not in os.environ
    assert os.environ["SYNTHZOO_TEST_CHANGED"] == "before"
    assert os.environ["SYNTHZOO_TEST_DELETED"] == "before"


def test_threads_and_filters_come_back():
    """The number of threads and the warnings filters are restored."""
    threads, filters = torch.get_num_threads(), list(warnings.filters)
    with preserved_process_state():
        torch.set_num_threads(threads + 1)
        warnings.simplefilter("ignore")
    assert torch.get_num_threads() == threads
    assert warnings.filters == filters


def test_random_states_come_back():
    """Python, NumPy and torch go on with the numbers that they would have given."""
    with preserved_process_state():
        expected = draws()
    with preserved_process_state():
        draws()
    assert draws() == expected


def set_all_precisions(precision: str) -> None:
    """Set what nequip sets where it finds CUDA."""
    backends: Any = torch.backends
    backends.fp32_precision = precision


def test_float32_precision_comes_back_readable():
    """Precision flags are restored so that torch's old and new ways can read them."""
    backends = torch.backends
    before = backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    with preserved_process_state():
        set_all_precisions("ieee")
        backends.cudnn.allow_tf32 = False
    assert (backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()) == before


def test_precision_that_the_caller_has_set_apart_is_kept():
    """Different settings for convolutions and recurrences survive."""
    cudnn: Any = torch.backends.cudnn
    with preserved_process_state():
        cudnn.conv.fp32_precision = "ieee"
        cudnn.rnn.fp32_precision = "tf32"
        with preserved_process_state():
            set_all_precisions("ieee")
        assert (cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision) == ("ieee", "tf32")


def test_random_state_of_a_started_cuda_comes_back(monkeypatch: pytest.MonkeyPatch):
    """Where CUDA runs, the states of its generators are saved and written back."""
    written: list[object] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: ["states"])
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", written.append)
    with preserved_process_state():
        pass
    assert written == [["states"]]


def test_cuda_that_has_not_been_started_keeps_its_seed(monkeypatch: pytest.MonkeyPatch):
    """Loading must not start CUDA; its later seed is the caller's, and not nequip's."""
    seeds: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    with preserved_process_state():
        torch.manual_seed(11)
        with nequip_session():
            monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
        assert seeds == [11]


def test_building_does_not_ask_cuda_for_its_random_state(
    monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Path
):
    """A model for the CPU loads where CUDA must not start, as in a forked process."""

    def refuse() -> None:
        raise RuntimeError("Cannot re-initialize CUDA in forked subprocess")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", refuse)
    load_calculator(tiny_checkpoint, device="cpu")


def test_threads_that_load_at_once_do_not_mix_their_states(tiny_checkpoint: Path):
    """Two loads in two threads leave the default dtype and environment alone."""
    before = torch.get_default_dtype(), dict(os.environ)
    threads = [
        threading.Thread(target=load_calculator, args=[tiny_checkpoint]) for _ in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (torch.get_default_dtype(), dict(os.environ)) == before


def test_sessions_one_after_the_other_leave_no_trace():
    """Nequip's set-up is done anew in each, and taken back."""
    before = torch.get_default_dtype()
    for _ in range(2):
        with nequip_session():
            pass
        assert torch.get_default_dtype() == before
