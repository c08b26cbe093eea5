"""The interactive session, a layer between the command line and the library."""
