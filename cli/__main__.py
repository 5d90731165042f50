"""`python -m cli` is `winnow`: how a process of ours starts another one in the same environment."""

import sys

from cli import main

sys.exit(main())
