"""From a checked request to a message on a queue, and back from the reply."""
