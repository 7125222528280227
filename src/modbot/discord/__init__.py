"""The wire to Discord: gateway session, REST client and limits, payload types, signatures.

Reading order for newcomers: `objects`, `events` and `interactions` say what Discord sends; `frames` turns bytes into those types
and drops what nobody wants; `intake` keeps the order; `heartbeats`, `closing` and `sending` are the rules of one socket,
`connections` is one socket, `sessions` is one gateway session over many sockets. `routes`, `buckets`, `budgets` and `rest` are
the way out. `signatures` proves that an HTTP request comes from Discord.

This room knows nothing of SQLite, leases, shard files or features: whoever owns a shard hands in what it needs as callables.
"""
