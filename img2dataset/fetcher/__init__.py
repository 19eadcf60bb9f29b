"""URLs → bytes."""
