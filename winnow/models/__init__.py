"""Models that come with the package. `mini/` is winnow-mini; its card is `mini/README.md`."""
