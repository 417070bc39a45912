"""Where things come from: readers, recordings, logs, files."""
