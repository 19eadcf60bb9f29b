"""One request to one server: the contract of an engine, and the engines."""
