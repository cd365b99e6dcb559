"""New code with a mistake: leaves the process while it is imported."""

import sys

sys.exit(9)
