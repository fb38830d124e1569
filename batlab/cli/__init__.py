"""The same steps for a shell: ``batlab info``, ``integrate``, ``track``, ``report`` and ``demo``."""

from batlab.cli.app import app, main

__all__ = ["app", "main"]
