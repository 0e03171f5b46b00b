"""Sockets: resolving, dialling, TLS, proxies and streams, with phases at the socket's own events."""
