"""`python -m triage` is `gpu-triage`."""

import sys

from triage.cli import main

sys.exit(main())
