"""Send what is in the outbox: mails, webhooks and chat messages."""
