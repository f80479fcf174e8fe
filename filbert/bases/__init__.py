"""Models to start from: found, fetched, converted, loaded."""
