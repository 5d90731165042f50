"""Models: the proxies that a run may use."""
