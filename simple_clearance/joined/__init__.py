"""Sessions elsewhere that are joined: how each is started, what it tells, and what is decided of it here."""
