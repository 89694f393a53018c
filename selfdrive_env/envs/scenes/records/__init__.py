"""Records as ways to keep to, where these lie on lanes, and recorded drivers as experts."""
