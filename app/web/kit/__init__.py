"""What every page is made with: templates, forms, static files, who visits."""
