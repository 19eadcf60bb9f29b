"""The command of another Python process of this package."""

from __future__ import annotations

import sys


def command(module: str, descriptor: int) -> list[str]:
    """What runs ``module.main(descriptor)`` with what this process would import, and nothing of its ``__main__``."""
    path = [entry for entry in sys.path if isinstance(entry, str)]
    code = f"import sys; sys.path[:] = {path!r}; from {module} import main; main({descriptor})"
    return [sys.executable, "-c", code]
