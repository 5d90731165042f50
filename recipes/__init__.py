"""How the bundled artefacts were made: the proxy `winnow-mini` and the sample. Not part of the wheel."""
