"""Lines of a log for people at a terminal.

Contract: imported where they are asked for: the library brings a good part of another one with it, which
draws tables and colours. The only importer of structlog.
"""

from __future__ import annotations

from typing import Any, TextIO

import structlog


def lines(least: int, stream: TextIO) -> Any:
    """A log of lines of some level (a number of `logging`) and above, with the methods of `JsonLines`."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=stream.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        # A line and its end are one write, so that those of several processes do not run into each other.
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    # Bound once, as finding out for each line costs more than writing it.
    return structlog.get_logger().bind()
