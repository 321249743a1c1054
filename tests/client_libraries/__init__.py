"""The shipped mappings, used by the clients they are for."""
