"""Messages in, leases, acknowledgement, heartbeats."""
