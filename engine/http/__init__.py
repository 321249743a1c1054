"""HTTP without I/O: messages, header fields, routing and authentication."""
