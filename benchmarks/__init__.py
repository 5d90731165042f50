"""Every number that the README states, one command each."""
