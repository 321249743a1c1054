"""The command line: one module per command, a Click command that calls a plain `run(…) -> int`.

Exit statuses: 0 success, 1 findings or failures, 2 usage errors.
"""

import gc
from typing import Final

#: Allocations until the first run of Python's garbage collector. Startup allocates tens of thousands of
#: objects, almost none of them garbage. `serve` configures the collector again after startup.
_FIRST_COLLECTION: Final = 200_000

gc.set_threshold(_FIRST_COLLECTION)
