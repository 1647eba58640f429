"""`python -m aaa_jax.data.prepare NAME`; exit codes: 0; 2 wrong input."""

import sys

from aaa_jax.data.prepare.preparers import main

sys.exit(main())
