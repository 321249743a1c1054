"""What runs: sockets, the event loop, logs. Everything here moves bytes; nothing here knows YAML."""
