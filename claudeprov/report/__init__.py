"""Reports: what runs or a time gave, as one HTML page that needs nothing beside it."""
