"""t2engine."""
__version__ = "0.1.0"
