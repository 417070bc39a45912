"""The other process: it listens to the packet log of one container."""
