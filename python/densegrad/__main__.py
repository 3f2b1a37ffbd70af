"""`python -m densegrad` prints what a report of a fault needs."""

from densegrad.config import show_config

show_config()
