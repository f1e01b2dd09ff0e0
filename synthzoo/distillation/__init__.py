"""From a few DFT structures of any material to its own fast potential."""
