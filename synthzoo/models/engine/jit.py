"""Machine code from LLVM's intermediate language, kept on disk."""

from __future__ import annotations

import ctypes
import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
from llvmlite import binding

KINDS = {
    "pointer": ctypes.c_void_p,
    "index": ctypes.c_int64,
}


@cache
def _machine() -> tuple[Any, str]:
    """Return LLVM's description of this processor, and its name."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    features = binding.get_host_cpu_features().flatten()
    cpu = binding.get_host_cpu_name()
    target = binding.Target.from_default_triple()
    machine = target.create_target_machine(
        cpu=cpu, features=features, opt=3, reloc="pic", codemodel="jitdefault", jit=True
    )
    return machine, f"{cpu} {features} {binding.get_default_triple()}"


@cache
def vector_bytes() -> int:
    """Return how many bytes a register for vectors has."""
    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 64
    return 32 if features.get("avx2") else 16


def emit_object(assembly: str) -> bytes:
    """Return the object code of a module."""
    machine, _ = _machine()
    module = binding.parse_assembly(assembly)
    module.verify()
    code: bytes = machine.emit_object(module)
    return code


def folder() -> Path:
    """Return where object code is kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "synthzoo" / "engine"


class Library:
    """Functions of a module, ready to be called.

    Parameters
    ----------
    key
        What decides the module, as text.
    write
        Returns the module, as text; called if its code is not on disk.
    signatures
        For each function the kinds of its arguments, ``pointer`` or ``index``.
    """

    def __init__(
        self,
        key: str,
        write: Callable[[], str],
        signatures: Mapping[str, tuple[str, ...]],
    ) -> None:
        code = _code(key, write)
        machine, _ = _machine()
        self._engine = binding.create_mcjit_compiler(
            binding.parse_assembly(""), machine
        )
        self._engine.add_object_file(binding.object_file.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        for name, kinds in signatures.items():
            kind = ctypes.CFUNCTYPE(None, *(KINDS[kind] for kind in kinds))
            setattr(self, name, kind(self._engine.get_function_address(name)))


def _code(key: str, write: Callable[[], str]) -> bytes:
    _, name = _machine()
    whole = "\n".join((llvmlite.__version__, name, key))
    path = folder() / (hashlib.sha256(whole.encode()).hexdigest() + ".o")
    try:
        return path.read_bytes()
    except OSError:
        code = emit_object(write())
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(code)
        Path(file.name).replace(path)
    except OSError:  # a full disk, or one that is not written to
        pass
    return code
