"""The one place where the version stands."""

__version__ = "2.0.0"
