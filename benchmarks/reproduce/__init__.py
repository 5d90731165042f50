"""What the papers claim, measured again: `make reproduce` prints the tables and writes docs/reproduction.md.

    transfer_published   learning percentage transfers between model sizes, from the published perplexities
    transfer_mini        it transfers down to winnow-mini, from a trajectory of its own
    ifd_proxies          two proxies of different size agree on IFD
    s2l_study            S2L brings rare task families back

Each has a function `section(place)` that computes what is not in the work folder yet and returns Markdown. Where data
from outside the project is absent, the section says so.
"""
