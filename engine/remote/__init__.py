"""The door for other programs on this machine: they send requests through the engine, and have its updates."""
