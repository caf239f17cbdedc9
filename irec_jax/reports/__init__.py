"""Tables, pages and figures that present results."""
