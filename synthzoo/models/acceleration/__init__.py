"""NequIP evaluated in less time on the CPU; network and weights stay nequip's."""

from synthzoo.models.acceleration.layers import accelerate, settle, undo

__all__ = ["accelerate", "settle", "undo"]
