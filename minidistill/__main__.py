# SPDX-License-Identifier: MIT
"""`python -m minidistill` is the command line."""

import sys

from .cli import main

sys.exit(main())
