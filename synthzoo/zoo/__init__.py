"""The models of the zoo and of the hub: cards, register, downloads."""
