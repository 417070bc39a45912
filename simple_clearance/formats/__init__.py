"""Bytes into values and back: netlink, D-Bus, the logs and lines of others.  Pure."""
