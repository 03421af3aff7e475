"""What people see of a report, drawn once for its page and for report.html. No torch, no network."""
