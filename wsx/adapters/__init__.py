"""Exchanges: what each makes of a WebSocket. One package or module an exchange; nothing is loaded before it is asked for."""
