"""Building: from a source distribution to its metadata and a wheel."""
