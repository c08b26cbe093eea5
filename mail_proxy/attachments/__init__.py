"""Where the files of attachments lie: a tenant's storages."""
