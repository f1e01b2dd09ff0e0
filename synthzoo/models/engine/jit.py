"""Machine code from LLVM's intermediate language, kept on disk."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import llvmlite
from llvmlite import binding

from synthzoo.runs.caches import kept_or_made

KINDS = {
    "pointer": ctypes.c_void_p,
    "index": ctypes.c_int64,
}


@cache
def processor() -> tuple[str, str]:
    """Return LLVM's name of this processor, and what that can do."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()


def _machine() -> Any:
    """Return LLVM's description of this processor: a new one, for a single owner."""
    cpu, features = processor()
    target = binding.Target.from_default_triple()
    return target.create_target_machine(
        cpu=cpu, features=features, opt=3, reloc="pic", codemodel="jitdefault", jit=True
    )


@cache
def vector_bytes() -> int:
    """Return how many bytes a register for vectors has."""
    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 64
    return 32 if features.get("avx2") else 16


def emit_object(assembly: str) -> bytes:
    """Return the object code of a module."""
    machine = _machine()
    module = binding.parse_assembly(assembly)
    module.verify()
    code: bytes = machine.emit_object(module)
    return code


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
        machine = _machine()
        self._engine = binding.create_mcjit_compiler(
            binding.parse_assembly(""), machine
        )
        self._engine.add_object_file(binding.object_file.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        for name, kinds in signatures.items():
            kind = ctypes.CFUNCTYPE(None, *(KINDS[kind] for kind in kinds))
            setattr(self, name, kind(self.address(name)))

    def address(self, name: str) -> int:
        """Return where a function of the module lies."""
        found: int = self._engine.get_function_address(name)
        return found


def _code(key: str, write: Callable[[], str]) -> bytes:
    """Return a module's object code, from the disk if it is there."""
    triple = binding.get_default_triple()
    whole = "\n".join((llvmlite.__version__, *processor(), triple, key))
    name = hashlib.sha256(whole.encode()).hexdigest() + ".o"
    return kept_or_made("engine", name, lambda: emit_object(write()))
