"""Pages about the project itself: sign-in, keys, policies, usage, webhooks, the trail."""
