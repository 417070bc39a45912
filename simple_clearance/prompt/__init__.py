"""The screen: what is asked and told, and what a key does.  Pure."""
