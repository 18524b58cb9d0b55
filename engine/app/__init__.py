"""The composition roots: they put the engine together from its own parts and concrete adapters."""
