"""Days on the floor under a virtual clock, played by the engine that runs live: what a desk would do, and why not."""
