"""What can be asked for: inference, jobs, voices, deployments, dead letters."""
