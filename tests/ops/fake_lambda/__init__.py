"""A Lambda Cloud on loopback that lies as the real one does."""
