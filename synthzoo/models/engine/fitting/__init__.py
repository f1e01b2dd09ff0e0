"""A network of torch, computed by the engine so that it can be fitted."""
