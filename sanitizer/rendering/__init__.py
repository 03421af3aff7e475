"""From a report to pages for people: report.html and report.md. Free of torch and of the service."""
