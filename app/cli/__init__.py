"""For operators, on the machine itself: schema, projects, keys, stuck jobs, everything on one machine.

    python -m app.cli migrate | projects | create-key | keys | rotate-key | revoke-key | set-quota |
        delete-project | deletion | deletions | audit | requeue | serve

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 refused (the sentence says why),
2 wrong usage. `serve` runs everything on this machine, with PostgreSQL, Valkey and SeaweedFS from wheels.
"""
