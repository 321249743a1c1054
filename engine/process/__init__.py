"""The operating-system process: its memory and its file descriptors."""
