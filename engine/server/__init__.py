"""The server: the ASGI application, HTTP/1.1, worker processes, reloading and the admin listener."""
