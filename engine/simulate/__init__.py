"""A whole fleet in virtual time: the engine's own decisions over a model of network and datacenter."""
