"""One request to one server: what the fetcher and its engines hand each other."""

from __future__ import annotations

from img2dataset.fetcher.engine.answer import Answer, Header
from img2dataset.fetcher.engine.body import Body
from img2dataset.fetcher.engine.contract import ConnectError, Engine, EngineFactory, EngineSettings, Hop

__all__ = ["Answer", "Body", "ConnectError", "Engine", "EngineFactory", "EngineSettings", "Header", "Hop"]
