"""Pictures of networks, of what flows through them, and of their training; matplotlib draws them."""

from densegrad.display.network_display import NetworkDisplay

__all__ = ["NetworkDisplay"]
