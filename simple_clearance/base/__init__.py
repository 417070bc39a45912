"""Values that every room knows: errors, text, addresses, times.  Pure."""
