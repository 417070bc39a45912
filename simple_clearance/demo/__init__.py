"""A shielded namespace to try it in."""
