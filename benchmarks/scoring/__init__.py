"""How fast rows are scored: the published procedure, Winnow's engines and the machine's ceiling, side by side."""
