"""`python -m pnlib`, the same as `pnlib`."""

import sys

from pnlib.runner.cli import main

sys.exit(main())
