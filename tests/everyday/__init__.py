"""What people type every day, and what they get: commands on a real stack, files counted and hashed."""
