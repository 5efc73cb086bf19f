"""Settings, and the files that say what is served: deployments, manifests, scaling, the hub."""
