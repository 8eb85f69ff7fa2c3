"""Reports, of what a reconstruction looks like and how far to trust it: figures, and one HTML page that opens offline."""
