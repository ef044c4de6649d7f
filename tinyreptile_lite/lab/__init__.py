"""For notebooks: pictures, widgets and checks."""
