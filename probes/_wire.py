"""Sockets: resolving, dialling, TLS, and the phases at the socket's own events. (Contract; the body follows.)"""
