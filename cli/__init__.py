"""The command line: one file a command, a click decorator over a plain `run(…) -> int`.

Exit statuses: 0 all is well, 1 there are findings or failures, 2 the command was called wrongly.
"""

import gc
from typing import Final

#: How many objects more there must be until Python's collector looks for the first time. A start makes tens
#: of thousands, hardly any of them garbage; `serve` sets the collector up anew once it is through.
_FIRST_LOOK: Final = 200_000

gc.set_threshold(_FIRST_LOOK)
