"""Keep the caller's process as it is while nequip and Lightning change it."""

from __future__ import annotations

import importlib
import os
import random
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

_LOCK = threading.RLock()

_PRECISION_SCOPES = (
    "",
    ".cuda.matmul",
    ".mkldnn.matmul",
    *(f".{lib}{part}" for lib in ("cudnn", "mkldnn") for part in ("", ".conv", ".rnn")),
)
"""Where below ``torch.backends`` a float32 precision is set; outer scopes first."""


class _Gate:
    """Many threads may compute with models, or one may build one.

    To build a model, e3nn traces parts of it with torch.fx, which replaces
    ``torch.nn.Module.__call__`` for the whole process meanwhile.
    """

    def __init__(self, *, forked: bool = False) -> None:
        self._condition = threading.Condition()
        self._computing = 0
        self._forked = forked

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Let a block run at any time but during `building`, gradients switched on."""
        with self._condition:
            self._computing += 1
        try:
            self._use_one_thread_if_forked()
            with _gradients():
                yield
        finally:
            with self._condition:
                self._computing -= 1
                self._condition.notify_all()

    @contextmanager
    def building(self) -> Iterator[None]:
        """Wait until nobody computes, and keep others from it during the block."""
        with self._condition:
            self._condition.wait_for(lambda: self._computing == 0)
            self._use_one_thread_if_forked()
            yield

    def _use_one_thread_if_forked(self) -> None:
        """Keep away from OpenMP's threads, which a fork loses: torch would hang."""
        if self._forked:
            _write_threads(1)


@contextmanager
def _gradients() -> Iterator[None]:
    """Switch gradients on, whatever the caller's script does: forces need them.

    Tensors that are made in torch's inference mode, as constants at an import are, too,
    could not be used outside of it.
    """
    import torch

    with torch.inference_mode(mode=False), torch.enable_grad():
        yield


MODEL_GATE = _Gate()
"""To be passed by whatever builds models or computes with them."""


def _after_fork() -> None:
    # Threads that were inside do not exist in the child; nobody else would leave.
    MODEL_GATE.__init__(forked=True)  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class _Setting(NamedTuple):
    """Something of the whole process: how to read it and how to write it back."""

    read: Callable[[], Any]
    write: Callable[[Any], object]


@contextmanager
def preserved_process_state(*, nequip: bool = True) -> Iterator[None]:
    """Give the process back as it was when this block ends, whatever ran inside.

    Kept are the environment, warnings filters, the random states of Python, NumPy
    and torch, and torch's default dtype, thread count, sharing strategy, fusion
    strategy, dynamo flags and float32 precision; e3nn's optimisation defaults; and
    nequip's own record of whether it has set all these. nequip is imported, so that
    what its import changes is undone, too. One thread at a time may be inside.

    ``nequip``: whether the block may use e3nn and nequip, which take seconds to import;
    what they set is not kept otherwise.
    """
    with _LOCK, ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        _keep(stack, _python_settings())
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of packages that the caller did not choose
            _keep(stack, _torch_settings())
            if nequip:
                _keep(stack, _nequip_settings())
        stack.callback(warnings.simplefilter, "ignore")  # while all is written back
        yield


@contextmanager
def nequip_session() -> Iterator[None]:
    """Run a block under nequip's global state, then put the caller's state back."""
    with _gradients(), preserved_process_state():
        import nequip.model.utils as builders
        from lightning.pytorch.utilities.seed import isolate_rng
        from nequip.utils.global_state import set_global_state

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # set-up that torch has deprecated
            set_global_state()
        # To keep CUDA's random state, nequip's builder would start CUDA on every GPU,
        # for a model on the CPU too, and could then not be used in a forked process.
        # The state is kept here already.
        builders.isolate_rng = partial(isolate_rng, include_cuda=False)
        yield


def _keep(stack: ExitStack, settings: list[_Setting]) -> None:
    for setting in settings:
        stack.callback(setting.write, setting.read())


def _python_settings() -> list[_Setting]:
    import numpy as np

    return [
        _attribute("warnings", "formatwarning"),
        _Setting(lambda: dict(os.environ), _write_environment),
        _Setting(random.getstate, random.setstate),
        _Setting(np.random.get_state, np.random.set_state),
    ]


def _torch_settings() -> list[_Setting]:
    import torch

    return [
        _Setting(_read_cuda_rng, _write_cuda_rng),  # written last: needs the CPU's seed
        _Setting(torch.get_rng_state, torch.set_rng_state),
        _Setting(torch.get_default_dtype, torch.set_default_dtype),
        _Setting(torch.get_num_threads, _write_threads),
        _Setting(
            torch.multiprocessing.get_sharing_strategy,
            torch.multiprocessing.set_sharing_strategy,
        ),
        _Setting(_read_precision, _write_precision),
        _Setting(_read_fusion_strategy, torch.jit.set_fusion_strategy),
    ]


def _nequip_settings() -> list[_Setting]:
    import e3nn
    import nequip.utils.global_state as state

    return [
        _Setting(
            lambda: dict(e3nn.get_optimization_defaults()),
            lambda defaults: e3nn.set_optimization_defaults(**defaults),
        ),
        _attribute("torch._dynamo.config", "capture_dynamic_output_shape_ops"),
        _attribute("torch._dynamo.config", "capture_scalar_outputs"),
        _attribute("nequip.model.utils", "isolate_rng"),
        # Otherwise nequip, used next by the caller, would believe that all is set.
        _attribute("nequip.utils.global_state", "_GLOBAL_STATE_INITIALIZED"),
        _Setting(
            lambda: dict(state._latest_global_config),
            lambda latest: _replace_items(state._latest_global_config, latest),
        ),
    ]


def _attribute(module: str, name: str) -> _Setting:
    owner = importlib.import_module(module)
    return _Setting(partial(getattr, owner, name), partial(setattr, owner, name))


def _replace_items(target: dict[str, Any], items: dict[str, Any]) -> None:
    target.clear()
    target.update(items)


def _write_environment(saved: dict[str, str]) -> None:
    for name in set(os.environ) - set(saved):
        del os.environ[name]
    for name, value in saved.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _write_threads(count: int) -> None:
    import torch

    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


def _read_cuda_rng() -> list[Any] | None:
    """Return CUDA's random states, or None where CUDA has not been started."""
    import torch

    started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return torch.cuda.get_rng_state_all() if started else None


def _write_cuda_rng(states: list[Any] | None) -> None:
    import torch

    if states is not None:
        torch.cuda.set_rng_state_all(states)
    elif torch.backends.cuda.is_built():  # type: ignore[no-untyped-call]
        # Not started yet: its seed is the one of the last torch.manual_seed.
        torch.cuda.manual_seed_all(torch.initial_seed())


def _read_fusion_strategy() -> list[tuple[str, int]]:
    """Return TorchScript's fusion strategy, which can be read only by setting it."""
    import torch

    strategy: list[tuple[str, int]] = torch.jit.set_fusion_strategy([("DYNAMIC", 1)])
    torch.jit.set_fusion_strategy(strategy)
    return strategy


def _read_precision() -> tuple[bool | None, dict[str, str]]:
    """Return cuDNN's old TF32 flag (if readable) and the precisions of torch >= 2.9."""
    import torch

    try:
        flag = torch.backends.cudnn.allow_tf32
    except RuntimeError:  # the caller has set conv and rnn apart
        flag = None
    if not hasattr(torch.backends, "fp32_precision"):
        return flag, {}
    scopes = ("torch.backends" + scope for scope in _PRECISION_SCOPES)
    return flag, {scope: _find(scope).fp32_precision for scope in scopes}


def _write_precision(saved: tuple[bool | None, dict[str, str]]) -> None:
    import torch

    flag, precisions = saved
    if flag is not None:
        torch.backends.cudnn.allow_tf32 = flag
    for scope, precision in precisions.items():
        _find(scope).fp32_precision = precision


def _find(scope: str) -> Any:
    import torch

    value: Any = torch
    for name in scope.split(".")[1:]:
        value = getattr(value, name)
    return value
