"""Where workers come from: processes on this machine, or machines of a cloud."""
