"""Errors that the registry tells apart when it chooses a backend."""

from __future__ import annotations


class NoDeviceError(RuntimeError):
    """The backend works, but this machine has no device for it."""
