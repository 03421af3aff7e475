"""Who may do what, over every operation of the OpenAPI document: a sweep that new routes cannot escape."""
