"""`python -m aaa_jax.data.prepare NAME`: the same as `python -m aaa_jax prepare`."""

import sys

from aaa_jax.data.prepare.preparers import main

sys.exit(main())
