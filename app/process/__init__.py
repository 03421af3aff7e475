"""What one process of the service holds between requests; the API and the pages are both served from it."""
