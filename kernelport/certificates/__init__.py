"""The certificates of TLS: those that a front door shows and asks for, and those for a try on this machine."""
