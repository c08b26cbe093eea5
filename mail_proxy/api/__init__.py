"""The HTTP API (contract: http-api.md): Starlette, one module per resource; see `app.create_app`."""
