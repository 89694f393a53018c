"""The family `motorway:`: motorways with interchanges on two levels."""
