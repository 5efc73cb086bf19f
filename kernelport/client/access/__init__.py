"""Keys and tenants, as those may change them whose key has the scope `admin`."""
