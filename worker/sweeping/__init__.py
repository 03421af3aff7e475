"""What the sweeper does: takes away what nobody needs, carries out deletions."""
