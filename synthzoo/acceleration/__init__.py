"""NequIP evaluated in less time on the CPU; network and weights stay nequip's."""

from synthzoo.acceleration.layers import accelerate, undo

__all__ = ["accelerate", "undo"]
