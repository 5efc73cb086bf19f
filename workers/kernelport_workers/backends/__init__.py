"""What runs a model: the protocol that a backend implements, the backends that are here, and how one is loaded."""
