"""Real servers from wheels on one machine: PostgreSQL, Valkey and SeaweedFS, started, watched and stopped."""
