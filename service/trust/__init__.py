"""Trust: how far a small proxy ranks the caller's own rows as a larger model does, found on a sample of them."""
