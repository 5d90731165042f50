"""How the bundled sample was made: hand-written material, generated records, and planted faults."""
