"""What API and pages share about requests and answers: errors, orders, streams. Holds no state."""
