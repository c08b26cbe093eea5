"""The use cases: every skin (HTTP, CLI, REPL) calls these and nothing else."""
