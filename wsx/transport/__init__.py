"""Bytes over TCP and TLS, without policy."""
