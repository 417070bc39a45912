"""Who answers: a terminal, a script, nobody; and what is left behind."""
