"""TLS: at both doors, from files that are replaced, for clients with and without a certificate of their own."""
