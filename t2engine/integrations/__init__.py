"""t2engine inside other programs. Nothing here is imported before it is asked for."""
