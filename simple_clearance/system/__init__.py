"""The operating system: the loop, signals, files, processes, the terminal."""
