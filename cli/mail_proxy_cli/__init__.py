"""The command line: a thin skin over the services, importing late what a command needs."""
