"""Which container, which of its directories and namespaces to believe."""
