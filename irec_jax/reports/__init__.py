"""Numbers to tables, pages and figures."""
