"""Who may do what: keys, the tenants that they belong to, and what belongs to a tenant."""
