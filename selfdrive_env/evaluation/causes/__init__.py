"""Who is at fault in an incident, and what kind of failure it is."""
