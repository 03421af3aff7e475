"""The command `cleanclip`: the same nouns as the client, for people and scripts."""
