"""`POST /score`: a dataset in, a run out."""
