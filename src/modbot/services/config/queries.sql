-- Every statement of the config service. Times are compared with clock_timestamp() only (I1).
-- Locks are always taken in this order: advisory (budget or sweep), pod rows, shard rows.

-- name: set_up
-- Fix the shard count ($1) at the first start; a later start leaves it as it is.
INSERT INTO settings (shard_count) VALUES ($1) ON CONFLICT DO NOTHING

-- name: shard_count
-- The shard count that was fixed at the first start.
SELECT shard_count FROM settings

-- name: cluster_id
-- Which database this is.
SELECT cluster_id FROM settings

-- name: add_shards
-- Create the formula shards 0..count-1; `$1` names, `$2` numbers.
INSERT INTO shards (shard_id, number)
SELECT * FROM unnest($1::text[], $2::integer[])
ON CONFLICT DO NOTHING

-- name: lock_budget
-- One decision at a time shares out the REST budget; `idle_in_transaction_session_timeout` frees it from a frozen replica.
SELECT pg_advisory_xact_lock(7214001)

-- name: lock_pod
-- Lock a pod's row and read what decides about its incarnation.
SELECT incarnation, state, lease_until > clock_timestamp() AS leased, egress, rest_demand, rest_reserved, failsafe, acked_no, joined_no,
       extract(epoch FROM clock_timestamp() - lease_until)::float8 AS expired_for
FROM pods WHERE pod_id = $1 FOR NO KEY UPDATE

-- name: find_incarnation
-- Whose incarnation this is, and whether it has ended.
SELECT pod_id, ended_at IS NOT NULL AS ended FROM incarnations WHERE incarnation = $1

-- name: begin_incarnation
-- Remember a new incarnation ($1) of a pod ($2).
INSERT INTO incarnations (incarnation, pod_id) VALUES ($1, $2)

-- name: end_incarnations
-- These incarnations are dead for ever.
UPDATE incarnations SET ended_at = clock_timestamp() WHERE incarnation = ANY($1::uuid[]) AND ended_at IS NULL

-- name: put_pod
-- The pod row of a (new or repeated) registration; `$7` lease seconds, `$8` REST reservation, `$9` labels, `$10` number of the answer,
-- `$11` failsafe. What says when it joined, `draining` and what it has acknowledged stay for the same incarnation.
INSERT INTO pods AS p
    (pod_id, incarnation, address, capacity, egress, replica_store, state, joined_at, lease_until, rest_reserved, labels,
     lease_seconds, heard_at, joined_no, acked_no, failsafe)
VALUES ($1, $2, $3, $4, $5, $6, 'live', clock_timestamp(), clock_timestamp() + make_interval(secs => $7), $8, $9::jsonb,
        $7, clock_timestamp(), $10, $10, $11)
ON CONFLICT (pod_id) DO UPDATE SET
    incarnation = excluded.incarnation, address = excluded.address, capacity = excluded.capacity,
    egress = excluded.egress, replica_store = excluded.replica_store, state = 'live', labels = excluded.labels,
    draining = p.draining AND p.incarnation = excluded.incarnation,
    joined_at = CASE WHEN p.incarnation = excluded.incarnation THEN p.joined_at ELSE excluded.joined_at END,
    lease_until = excluded.lease_until, rest_reserved = excluded.rest_reserved,
    lease_seconds = excluded.lease_seconds, heard_at = excluded.heard_at, failsafe = excluded.failsafe,
    joined_no = CASE WHEN p.incarnation = excluded.incarnation THEN p.joined_no ELSE excluded.joined_no END,
    acked_no = CASE WHEN p.incarnation = excluded.incarnation THEN p.acked_no ELSE excluded.acked_no END,
    rest_demand = CASE WHEN p.incarnation = excluded.incarnation THEN p.rest_demand ELSE 0 END

-- name: reclaim
-- In-place reclaim: what the pod's earlier incarnation owned or left reserved becomes the new incarnation's, up to its capacity ($3).
WITH mine AS (
    SELECT shard_id FROM shards
    WHERE (owner = $1 AND incarnation <> $2)
       OR (owner IS NULL AND last_owner = $1 AND reserved_until IS NOT NULL)
    ORDER BY number LIMIT $3 FOR UPDATE
)
UPDATE shards SET
    owner = $1, incarnation = $2, epoch = epoch + 1, last_owner = $1, replica_store = $4, reserved_until = NULL,
    target = NULL, target_incarnation = NULL, move_id = NULL
FROM mine WHERE shards.shard_id = mine.shard_id
RETURNING shards.shard_id

-- name: release_others
-- What an earlier incarnation of the pod owned and the new one ($2) did not reclaim is nobody's now.
UPDATE shards SET owner = NULL, incarnation = NULL, freed_at = clock_timestamp(), reserved_until = clock_timestamp(),
    target = NULL, target_incarnation = NULL, move_id = NULL
WHERE owner = $1 AND incarnation <> $2

-- name: budgets
-- What every pod with a valid lease asks for and may be using.
SELECT pod_id, rest_demand, rest_reserved FROM pods WHERE state = 'live' AND lease_until > clock_timestamp()

-- name: renew
-- Extend the lease of the current, living incarnation; no row means that it has ended (I1). `$3` seconds, `$4` demand, `$5` reservation, `$6` it
-- drains, `$7` the last answer that it has received.
UPDATE pods SET
    lease_until = clock_timestamp() + make_interval(secs => $3), rest_demand = $4, rest_reserved = $5,
    draining = draining OR $6, lease_seconds = $3, heard_at = clock_timestamp(), acked_no = greatest(acked_no, $7)
WHERE pod_id = $1 AND incarnation = $2 AND state = 'live'
RETURNING egress

-- name: next_answer
-- The number of an answer. Registrations and renewals take it under the lock of the budget, so numbers have the order of what they saw.
SELECT nextval('answers')

-- name: members
-- The pods that may be acting: every one that has joined and has not ended, whatever its lease.
SELECT pod_id, incarnation, address, state, draining FROM pods WHERE state = 'live' ORDER BY pod_id

-- name: report_load
-- Store the measurements of shards that the reporter ($1, $2) owns in that epoch; others are ignored. `usual_events` is the slow mean:
-- a report speaks for the seconds since the last one, $13 at most, over a time constant of $14; one without a connection says nothing.
INSERT INTO shard_load AS l
    (shard_id, epoch, guilds, events_per_second, lag_seconds, connected, rows, file_bytes, replica_lag, replicated_seq)
SELECT s.shard_id, s.epoch, r.guilds, r.events_per_second, r.lag_seconds, r.connected, r.rows, r.file_bytes, r.replica_lag,
    r.replicated_seq
FROM unnest($3::text[], $4::bigint[], $5::bigint[], $6::float8[], $7::float8[], $8::boolean[], $9::bigint[], $10::bigint[],
            $11::float8[], $12::bigint[])
    AS r (shard_id, epoch, guilds, events_per_second, lag_seconds, connected, rows, file_bytes, replica_lag, replicated_seq)
JOIN shards s ON s.shard_id = r.shard_id AND s.epoch = r.epoch AND s.owner = $1 AND s.incarnation = $2
ON CONFLICT (shard_id) DO UPDATE SET
    epoch = excluded.epoch, guilds = excluded.guilds, events_per_second = excluded.events_per_second,
    lag_seconds = excluded.lag_seconds, connected = excluded.connected, rows = excluded.rows, file_bytes = excluded.file_bytes,
    replica_lag = excluded.replica_lag, replicated_seq = excluded.replicated_seq, reported_at = excluded.reported_at,
    usual_events = CASE WHEN excluded.connected
        THEN l.usual_events + (excluded.events_per_second - l.usual_events)
            * (1 - exp(-least(greatest(0, extract(epoch FROM excluded.reported_at - l.reported_at)), $13::float8)::float8 / $14::float8))
        ELSE l.usual_events END

-- name: count_invalid
-- Add invalid requests ($2) to the ten-second bucket of an egress address.
INSERT INTO invalid_requests AS i (egress, bucket, count)
VALUES ($1, date_bin('10 seconds', clock_timestamp(), 'epoch'), $2)
ON CONFLICT (egress, bucket) DO UPDATE SET count = i.count + excluded.count

-- name: invalid_recently
-- Invalid requests of an egress address in the last ten minutes.
SELECT coalesce(sum(count), 0)::bigint FROM invalid_requests
WHERE egress = $1 AND bucket > clock_timestamp() - interval '610 seconds'

-- name: owned
-- The shards of this incarnation; `served` once an owner has reported on a shard, so that its file exists somewhere (I8); `contested`
-- while another that lost it may still be acting.
SELECT s.shard_id, s.epoch, s.owner, s.incarnation, s.since_epoch, s.since_move, s.target, s.target_incarnation, s.move_id,
       l.shard_id IS NOT NULL AS served, coalesce(l.replicated_seq, 0) AS replicated_seq, s.born_epoch,
       EXISTS (SELECT FROM open_losses AS o WHERE o.shard_id = s.shard_id AND o.pod_id IS DISTINCT FROM s.owner) AS contested
FROM shards s LEFT JOIN shard_load l USING (shard_id) WHERE s.owner = $1 AND s.incarnation = $2 ORDER BY s.number

-- name: incoming
-- The shards that are being handed to this incarnation.
SELECT shard_id, epoch, owner, incarnation, since_epoch, since_move, target, target_incarnation, move_id, true AS served
FROM shards WHERE target = $1 AND target_incarnation = $2 ORDER BY number

-- name: leave
-- The current, living incarnation says goodbye; its lease ends now.
UPDATE pods SET state = 'left', lease_until = least(lease_until, clock_timestamp()), rest_reserved = 0
WHERE pod_id = $1 AND incarnation = $2 AND state = 'live'
RETURNING pod_id

-- name: free_left
-- A pod left: its shards are reserved for it for `$3` seconds, or (null) free at once.
UPDATE shards SET
    owner = NULL, incarnation = NULL, freed_at = clock_timestamp(),
    reserved_until = clock_timestamp() + make_interval(secs => $3),
    target = NULL, target_incarnation = NULL, move_id = NULL
WHERE owner = $1 AND incarnation = $2

-- name: try_sweep
-- At most one replica sweeps at a time; the others have nothing to add.
SELECT pg_try_advisory_xact_lock(7214002)

-- name: look_around
-- What a sweep must know before it concludes anything from silence: seconds since the last one, whether it ran on this server, the longest
-- lease of any pod that ever was, seconds since any living pod was heard (null: none lives), seconds since the last outage ended.
SELECT extract(epoch FROM clock_timestamp() - s.last_at)::float8 AS since_last, s.server = pg_postmaster_start_time() AS same_server,
       extract(epoch FROM clock_timestamp() - s.resumed_at)::float8 AS resumed_for, l.ttl, l.silent_for
FROM (SELECT coalesce(max(lease_seconds), 0)::float8 AS ttl,
             extract(epoch FROM clock_timestamp() - max(heard_at) FILTER (WHERE state = 'live'))::float8 AS silent_for
      FROM pods) AS l LEFT JOIN sweeps s ON true

-- name: note_sweep
-- This sweep may conclude from silence; $1: an outage ends with it.
INSERT INTO sweeps AS s (last_at, server, resumed_at)
VALUES (clock_timestamp(), pg_postmaster_start_time(), CASE WHEN $1 THEN clock_timestamp() END)
ON CONFLICT (only_row) DO UPDATE SET
    last_at = excluded.last_at, server = excluded.server, resumed_at = coalesce(excluded.resumed_at, s.resumed_at)

-- name: forgive
-- After an outage every living pod has one whole lease and $1 seconds, by the clock of this server.
UPDATE pods SET
    lease_until = clock_timestamp() + make_interval(secs => lease_seconds + $1), heard_at = least(heard_at, clock_timestamp())
WHERE state = 'live'

-- name: restart_losses
-- After an outage what is waited for begins anew, because the clock may be another one.
UPDATE losses SET lease_until = greatest(lease_until, clock_timestamp()), witnessed_at = NULL

-- name: note_losses
-- These shards ($1) were taken from these lost incarnations ($2): remember what those that may go on in failsafe mode know. What an
-- earlier one knew counts too, while nobody has opened the shard since.
INSERT INTO losses AS l (shard_id, epoch, pod_id, lease_until, lease_seconds, number, knew)
SELECT s.shard_id, s.epoch, CASE WHEN o.shard_id IS NULL OR o.pod_id = p.pod_id THEN p.pod_id END,
       greatest(p.lease_until, o.lease_until), greatest(p.lease_seconds, o.lease_seconds), nextval('answers'),
       least(p.acked_no, o.knew)
FROM shards s JOIN pods p ON p.pod_id = s.last_owner LEFT JOIN open_losses o ON o.shard_id = s.shard_id
WHERE s.shard_id = ANY($1::text[]) AND p.incarnation = ANY($2::uuid[]) AND p.failsafe
ON CONFLICT (shard_id) DO UPDATE SET
    epoch = excluded.epoch, pod_id = excluded.pod_id, lease_until = excluded.lease_until,
    lease_seconds = excluded.lease_seconds, number = excluded.number, knew = excluded.knew, witnessed_at = NULL

-- name: witness_losses
-- A pod that the lost one must ask has received an answer from after the loss: from now on it refuses.
UPDATE losses AS l SET witnessed_at = clock_timestamp()
WHERE witnessed_at IS NULL AND EXISTS (SELECT FROM pods p WHERE p.joined_no < l.knew AND p.acked_no > l.number)

-- name: forget_losses
-- Who lost these has surely stopped ($1: seconds that failsafe mode can last, $2 slack), so nobody is barred from them any more.
DELETE FROM losses
WHERE lease_until + make_interval(secs => $1) <= clock_timestamp()
   OR witnessed_at + make_interval(secs => lease_seconds + $2) <= clock_timestamp()

-- name: barred
-- Which pods must not be given which free shards: those that the lost owner, who may be acting, does not know.
SELECT s.shard_id, p.pod_id
FROM open_losses l
JOIN shards s ON s.shard_id = l.shard_id AND s.owner IS NULL
JOIN pods p ON p.state = 'live' AND p.joined_no >= l.knew AND p.pod_id IS DISTINCT FROM l.pod_id

-- name: lock_expired
-- Lock the pods whose lease ran out. One that is being renewed right now is skipped: that renewal wins fully (I1).
SELECT pod_id, incarnation FROM pods
WHERE state = 'live' AND lease_until <= clock_timestamp()
ORDER BY pod_id FOR NO KEY UPDATE SKIP LOCKED

-- name: mark_lost
-- The leases of these incarnations ran out; they can never renew again.
UPDATE pods SET state = 'lost', rest_reserved = 0
WHERE incarnation = ANY($1::uuid[]) AND state = 'live'

-- name: free_lost
-- The shards of lost incarnations are nobody's; their last owner may have them back at once if nobody could take them.
UPDATE shards SET owner = NULL, incarnation = NULL, freed_at = clock_timestamp(), reserved_until = clock_timestamp(),
    target = NULL, target_incarnation = NULL, move_id = NULL
WHERE incarnation = ANY($1::uuid[])
RETURNING shard_id

-- name: free_shards
-- The shards that nobody owns and that are not reserved for a pod that left.
SELECT s.shard_id, s.epoch, s.last_owner, s.replica_store, s.pin,
       coalesce(l.usual_events, 0) AS usual_events, coalesce(l.guilds, 0) AS guilds, coalesce(l.rows, 0) AS rows,
       extract(epoch FROM clock_timestamp() - s.freed_at)::float8 AS free_for
FROM shards s LEFT JOIN shard_load l USING (shard_id)
WHERE s.owner IS NULL AND NOT s.retired AND (s.reserved_until IS NULL OR s.reserved_until <= clock_timestamp())
ORDER BY s.number

-- name: lock_free_shards
-- The same rows as `free_shards`, locked; one that a registration is reclaiming right now is skipped.
SELECT s.shard_id, s.epoch, s.last_owner, s.replica_store, s.pin,
       coalesce(l.usual_events, 0) AS usual_events, coalesce(l.guilds, 0) AS guilds, coalesce(l.rows, 0) AS rows,
       extract(epoch FROM clock_timestamp() - s.freed_at)::float8 AS free_for
FROM shards s LEFT JOIN shard_load l USING (shard_id)
WHERE s.owner IS NULL AND NOT s.retired AND (s.reserved_until IS NULL OR s.reserved_until <= clock_timestamp())
ORDER BY s.number FOR NO KEY UPDATE OF s SKIP LOCKED

-- name: candidates
-- The pods with a valid lease.
SELECT pod_id, incarnation, capacity, replica_store, labels, draining OR cordoned AS closed FROM pods
WHERE state = 'live' AND lease_until > clock_timestamp() ORDER BY pod_id

-- name: lock_candidates
-- The pods with a valid lease, locked against ending while shards are granted to them.
SELECT pod_id, incarnation, capacity, replica_store, labels, draining OR cordoned AS closed,
       extract(epoch FROM clock_timestamp() - joined_at)::float8 AS joined_for
FROM pods WHERE state = 'live' AND lease_until > clock_timestamp()
ORDER BY pod_id FOR SHARE

-- name: burdens
-- What is carried: every shard with an owner, to whom it is being handed, and what its weight is made of.
SELECT s.owner, s.target, coalesce(l.usual_events, 0) AS usual_events, coalesce(l.guilds, 0) AS guilds, coalesce(l.rows, 0) AS rows
FROM shards s LEFT JOIN shard_load l USING (shard_id)
WHERE s.owner IS NOT NULL

-- name: grant
-- Give shards ($1, in the epochs $2) to pods ($3): epoch+1, guarded by the old epoch, by having no owner and by a valid lease (I1).
UPDATE shards SET
    owner = p.pod_id, incarnation = p.incarnation, epoch = shards.epoch + 1,
    since_epoch = CASE WHEN shards.last_owner = p.pod_id THEN shards.since_epoch ELSE shards.epoch + 1 END,
    since_move = CASE WHEN shards.last_owner = p.pod_id THEN shards.since_move ELSE 0 END,
    last_owner = p.pod_id, replica_store = p.replica_store, reserved_until = NULL
FROM unnest($1::text[], $2::bigint[], $3::text[]) AS g (shard_id, epoch, pod_id)
JOIN pods p ON p.pod_id = g.pod_id AND p.state = 'live' AND p.lease_until > clock_timestamp()
WHERE shards.shard_id = g.shard_id AND shards.epoch = g.epoch AND shards.owner IS NULL
RETURNING shards.shard_id

-- name: forget_old
-- Drop inbox entries past their 14 minutes, invalid-request buckets that count no more, anonymity keys of past days, and moves of a month ago.
WITH stale AS (DELETE FROM invalid_requests WHERE bucket < clock_timestamp() - interval '20 minutes'),
     old_moves AS (DELETE FROM moves WHERE finished_at < clock_timestamp() - interval '30 days'),
     past AS (DELETE FROM anonymity_keys WHERE day < (now() AT TIME ZONE 'UTC')::date)
DELETE FROM inbox WHERE expires_at <= clock_timestamp()

-- name: is_owner
-- Whether this incarnation owns the shard in this epoch with a valid lease; the shard row stays locked against a new grant.
SELECT s.number,
       s.owner = $2 AND s.incarnation = $3 AND s.epoch = $4
           AND EXISTS (SELECT FROM pods p WHERE p.pod_id = s.owner AND p.incarnation = s.incarnation
                       AND p.state = 'live' AND p.lease_until > clock_timestamp()) AS owns
FROM shards s WHERE s.shard_id = $1 FOR SHARE

-- name: tell_identify_limits
-- Discord's word ($1 remaining, $2 seconds to reset, $3 max_concurrency) opens a window; inside a window only the smaller number
-- counts, because Discord's number does not know the permits that were not used yet.
INSERT INTO identify_budget AS b (window_ends, remaining, max_concurrency, told_at)
VALUES (clock_timestamp() + make_interval(secs => $2), $1, $3, clock_timestamp())
ON CONFLICT (only_row) DO UPDATE SET
    window_ends = CASE WHEN b.window_ends <= clock_timestamp()
                         OR excluded.window_ends > b.window_ends + interval '1 minute'
                       THEN excluded.window_ends ELSE b.window_ends END,
    remaining = CASE WHEN b.window_ends <= clock_timestamp()
                       OR excluded.window_ends > b.window_ends + interval '1 minute'
                     THEN excluded.remaining ELSE least(b.remaining, excluded.remaining) END,
    max_concurrency = excluded.max_concurrency, told_at = excluded.told_at

-- name: lock_identify_budget
-- Lock and read the daily IDENTIFY budget; `fresh` while what Discord said is at most $1 seconds old.
SELECT remaining, max_concurrency, extract(epoch FROM window_ends - clock_timestamp())::float8 AS resets_in,
       coalesce(told_at > clock_timestamp() - make_interval(secs => $1), false) AS fresh
FROM identify_budget FOR UPDATE

-- name: claim_identify_limits
-- One pod at a time is told to ask Discord, for `$1` seconds; no row when somebody else was told.
INSERT INTO identify_budget AS b (window_ends, remaining, max_concurrency, asked_at)
VALUES (clock_timestamp(), 0, 1, clock_timestamp())
ON CONFLICT (only_row) DO UPDATE SET asked_at = clock_timestamp()
WHERE b.asked_at IS NULL OR b.asked_at <= clock_timestamp() - make_interval(secs => $1)
RETURNING asked_at

-- name: take_identify_key
-- Take the turn of a concurrency key ($1) for `$2` seconds; no row when the turn is somebody's.
INSERT INTO identify_keys AS k (key, next_at) VALUES ($1, clock_timestamp() + make_interval(secs => $2))
ON CONFLICT (key) DO UPDATE SET next_at = excluded.next_at WHERE k.next_at <= clock_timestamp()
RETURNING key

-- name: identify_key_wait
-- Seconds until the turn of a concurrency key is free again.
SELECT greatest(0, extract(epoch FROM next_at - clock_timestamp()))::float8 FROM identify_keys WHERE key = $1

-- name: spend_identify
-- One IDENTIFY of the daily budget is spent.
UPDATE identify_budget SET remaining = remaining - 1

-- name: append_inbox
-- Append interactions; one that is there already is left as it is.
INSERT INTO inbox (shard_id, interaction_id, payload, guild_id, deferred)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::boolean[])
    AS e (shard_id, interaction_id, payload, guild_id, deferred)
ORDER BY interaction_id
ON CONFLICT (interaction_id) DO NOTHING

-- name: defer_inbox
-- Discord has the deferral of these: make sure they are there and marked. An entry keeps its first expiry.
INSERT INTO inbox (shard_id, interaction_id, payload, guild_id, deferred)
SELECT DISTINCT ON (interaction_id) shard_id, interaction_id, payload, guild_id, true
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[]) AS e (shard_id, interaction_id, payload, guild_id)
ORDER BY interaction_id
ON CONFLICT (interaction_id) DO UPDATE SET deferred = true

-- name: unknown_shards
-- Which of these names are no shards.
SELECT name FROM unnest($1::text[]) AS name WHERE NOT EXISTS (SELECT FROM shards WHERE shard_id = name)

-- name: list_inbox
-- What a shard has not acknowledged and is not expired, behind a position ($3), oldest first.
SELECT position, interaction_id, shard_id, payload, deferred FROM inbox
WHERE shard_id = $1 AND position > $3 AND expires_at > clock_timestamp() ORDER BY position LIMIT $2

-- name: acknowledge_inbox
-- The shard file holds these durably: those of $2 unless a follow-up is due, and those of $3, whose follow-up was asked for.
DELETE FROM inbox WHERE shard_id = $1 AND (interaction_id = ANY($2::bigint[]) AND NOT deferred OR interaction_id = ANY($3::bigint[]))

-- name: deferred_shards
-- The shards whose owner has deferred interactions to complete.
SELECT DISTINCT shard_id FROM inbox WHERE deferred AND expires_at > clock_timestamp()

-- name: all_pods
-- Every pod as members see it.
SELECT pod_id, incarnation, address, state, draining OR cordoned AS draining FROM pods ORDER BY pod_id

-- name: all_shards
-- Every shard as members see it; `served` once the owner has reported on it under this epoch.
SELECT s.shard_id, s.epoch, s.owner, s.incarnation, s.since_epoch, s.since_move, s.target, s.target_incarnation, s.move_id,
       l.epoch IS NOT NULL AS served
FROM shards s LEFT JOIN shard_load l ON l.shard_id = s.shard_id AND l.epoch = s.epoch ORDER BY s.number

-- name: lock_shard
-- Lock a shard's row; what a handoff must know of it.
SELECT shard_id, owner, incarnation, epoch, replica_store, move_id FROM shards WHERE shard_id = $1 FOR NO KEY UPDATE

-- name: lock_target
-- A pod that may receive shards (`$1`): a valid lease, not draining. Locked against ending, and against everybody else who would
-- count what it carries and add to it.
SELECT pod_id, incarnation, replica_store, capacity FROM pods
WHERE pod_id = $1 AND state = 'live' AND lease_until > clock_timestamp() AND NOT draining AND NOT cordoned FOR NO KEY UPDATE

-- name: hold_pod
-- Lock a pod's row against ending while it is made an owner.
SELECT pod_id FROM pods WHERE pod_id = $1 FOR SHARE

-- name: count_carried
-- How many shards a pod has or is being handed.
SELECT count(*) FROM shards WHERE owner = $1 OR target = $1

-- name: log_move
-- Remember a handoff that begins: shard, source, target, epoch, reason, cause.
INSERT INTO moves (shard_id, source, target, epoch, reason, cause) VALUES ($1, $2, $3, $4, $5, $6) RETURNING move_id

-- name: begin_move
-- Aim a shard ($1) of an owner in an epoch ($2) at a target ($3, $4) under the name $5; no row when something changed meanwhile.
UPDATE shards SET target = $3, target_incarnation = $4, move_id = $5
WHERE shard_id = $1 AND epoch = $2 AND owner IS NOT NULL AND move_id IS NULL RETURNING shard_id

-- name: complete_move
-- The compare-and-set of a handoff: the target ($2, $3) becomes owner with the next epoch, if the source still has it in epoch $4, the
-- handoff is still $5 and the target's lease is valid (I1). What it returns is what the next grant says of the shard (`owned`).
UPDATE shards SET
    owner = p.pod_id, incarnation = p.incarnation, epoch = shards.epoch + 1, since_epoch = shards.epoch + 1, since_move = shards.move_id,
    last_owner = p.pod_id, replica_store = p.replica_store, target = NULL, target_incarnation = NULL, move_id = NULL
FROM pods p
WHERE shards.shard_id = $1 AND shards.epoch = $4 AND shards.move_id = $5 AND shards.target = $2 AND shards.target_incarnation = $3
  AND p.pod_id = $2 AND p.incarnation = $3 AND p.state = 'live' AND p.lease_until > clock_timestamp()
RETURNING shards.shard_id, shards.epoch, shards.owner, shards.incarnation, shards.since_epoch, shards.since_move,
    shards.target, shards.target_incarnation, shards.move_id, shards.born_epoch,
    EXISTS (SELECT FROM shard_load l WHERE l.shard_id = shards.shard_id) AS served,
    coalesce((SELECT l.replicated_seq FROM shard_load l WHERE l.shard_id = shards.shard_id), 0) AS replicated_seq,
    EXISTS (SELECT FROM open_losses AS o WHERE o.shard_id = shards.shard_id AND o.pod_id IS DISTINCT FROM shards.owner) AS contested

-- name: cancel_move
-- The source keeps the shard ($1, in epoch $2): handoff $3 is over, if it has not been completed.
UPDATE shards SET target = NULL, target_incarnation = NULL, move_id = NULL
WHERE shard_id = $1 AND epoch = $2 AND move_id = $3 RETURNING shard_id

-- name: finish_move
-- Write down how a handoff ($1) ended ($2), with a detail.
UPDATE moves SET state = $2, detail = $3, finished_at = clock_timestamp() WHERE move_id = $1 AND state = 'moving' RETURNING cause

-- name: end_stray_moves
-- Clear handoffs whose target is not alive any more, and close the record of every handoff that no shard is in ($1: seconds after
-- which one that is still under way is given up).
WITH stuck AS (
    UPDATE shards AS s SET target = NULL, target_incarnation = NULL, move_id = NULL
    FROM moves m
    WHERE s.move_id = m.move_id AND (
        m.started_at < clock_timestamp() - make_interval(secs => $1)
        OR NOT EXISTS (SELECT FROM pods p WHERE p.incarnation = s.target_incarnation AND p.state = 'live'))
    RETURNING m.move_id
)
UPDATE moves SET state = 'cancelled', finished_at = clock_timestamp(),
    detail = CASE WHEN detail = '' THEN 'One side was lost or it took too long.' ELSE detail END
WHERE state = 'moving' AND (move_id IN (SELECT move_id FROM stuck)
    OR NOT EXISTS (SELECT FROM shards s WHERE s.move_id = moves.move_id))
RETURNING cause

-- name: try_rebalance
-- At most one replica rebalances at a time. Correctness does not hang on it: every move is guarded by itself.
SELECT pg_try_advisory_xact_lock(7214003)

-- name: cluster_settings
-- What people decided about moves.
SELECT shard_count, moves_paused, rebalance_asked FROM settings

-- name: movable_pods
-- The pods with a valid lease, as the rebalancer sees them.
SELECT pod_id, capacity, replica_store, labels, draining, cordoned,
       extract(epoch FROM clock_timestamp() - joined_at)::float8 AS joined_for,
       extract(epoch FROM clock_timestamp() - first_seen_at)::float8 AS seen_for
FROM pods WHERE state = 'live' AND lease_until > clock_timestamp() ORDER BY pod_id

-- name: movable_shards
-- Every shard with an owner, where it is going, its pin and what its weight is made of.
SELECT s.shard_id, s.owner, s.target, s.pin,
       coalesce(l.usual_events, 0) AS usual_events, coalesce(l.guilds, 0) AS guilds, coalesce(l.rows, 0) AS rows
FROM shards s LEFT JOIN shard_load l USING (shard_id)
WHERE s.owner IS NOT NULL ORDER BY s.number

-- name: ended_lately
-- The shards that were moved for balance or by hand within $1 seconds, or whose last handoff was given up within $2 seconds.
SELECT DISTINCT ON (shard_id) shard_id, state FROM moves
WHERE finished_at > clock_timestamp() - make_interval(secs => greatest($1::float8, $2::float8))
  AND (state = 'done' AND cause IN ('balance', 'operator') AND finished_at > clock_timestamp() - make_interval(secs => $1)
       OR state = 'cancelled' AND finished_at > clock_timestamp() - make_interval(secs => $2))
ORDER BY shard_id, move_id DESC

-- name: begun_lately
-- How many handoffs for pins and balance began within `$1` seconds.
SELECT count(*) FROM moves
WHERE started_at > clock_timestamp() - make_interval(secs => $1) AND cause IN ('pin', 'balance')

-- name: lock_targets
-- Lock the pods that are about to receive shards, in the one order, before any shard is locked.
SELECT pod_id FROM pods WHERE pod_id = ANY($1::text[]) ORDER BY pod_id FOR NO KEY UPDATE

-- name: pause_moves
-- Stop ($1) or allow the moves that nobody asked for by name; a round that was asked for is given up with a pause.
UPDATE settings SET moves_paused = $1, rebalance_asked = rebalance_asked AND NOT $1

-- name: ask_rebalance
-- People want ($1) a round until all is as even as it can be, or it is finished; no row while moves are paused.
UPDATE settings SET rebalance_asked = $1 WHERE NOT (moves_paused AND $1) RETURNING rebalance_asked

-- name: cordon
-- An operator drains a pod ($2) or lets it receive again; no row for an unknown pod.
UPDATE pods SET cordoned = $2 WHERE pod_id = $1 RETURNING pod_id

-- name: pin_shard
-- Pin a shard to a pod or a label ($2), or to nothing; no row for an unknown shard.
UPDATE shards SET pin = $2 WHERE shard_id = $1 RETURNING shard_id

-- name: list_moves
-- The handoffs under way and the latest that are over.
SELECT move_id, shard_id, source, target, reason, cause, state, detail,
       extract(epoch FROM coalesce(finished_at, clock_timestamp()) - started_at)::float8 AS seconds
FROM moves ORDER BY move_id DESC LIMIT $1

-- name: pods_health
-- Every pod with what remains of its lease.
SELECT pod_id, incarnation, address, state, capacity, labels, draining, cordoned,
       extract(epoch FROM lease_until - clock_timestamp())::float8 AS lease_seconds
FROM pods ORDER BY pod_id

-- name: loads
-- The last measurements of every owned shard.
SELECT s.owner, l.shard_id, l.epoch, l.guilds, l.events_per_second, l.lag_seconds, l.connected, l.rows, l.file_bytes, l.replica_lag,
       l.replicated_seq
FROM shard_load l JOIN shards s ON s.shard_id = l.shard_id AND s.epoch = l.epoch
WHERE s.owner IS NOT NULL ORDER BY s.number

-- name: holdings
-- What every live pod owns, and what others own that are not live any more: shards, and what these last reported.
SELECT p.pod_id, count(s.shard_id) AS shards, coalesce(sum(l.guilds), 0)::bigint AS guilds,
       coalesce(sum(l.file_bytes), 0)::bigint AS file_bytes, coalesce(sum(l.events_per_second), 0)::float8 AS events_per_second
FROM pods p LEFT JOIN shards s ON s.owner = p.pod_id LEFT JOIN shard_load l ON l.shard_id = s.shard_id AND l.epoch = s.epoch
GROUP BY p.pod_id, p.state HAVING p.state = 'live' OR count(s.shard_id) > 0
ORDER BY p.pod_id

-- name: shard_details
-- Every shard with its history, for people.
SELECT s.shard_id, s.epoch, s.owner, s.last_owner, s.replica_store, s.target, s.pin,
       coalesce(s.reserved_until > clock_timestamp(), false) AS reserved,
       coalesce(l.usual_events, 0) AS usual_events, coalesce(l.guilds, 0) AS guilds, coalesce(l.rows, 0) AS rows
FROM shards s LEFT JOIN shard_load l USING (shard_id) WHERE NOT s.retired ORDER BY s.number

-- name: offer_anonymity_key
-- Make $1 the key of today (UTC) unless today has one. `now()` is the same moment in both statements of the transaction.
INSERT INTO anonymity_keys (day, key) VALUES ((now() AT TIME ZONE 'UTC')::date, $1) ON CONFLICT (day) DO NOTHING

-- name: read_anonymity_key
-- The key of today and the seconds until it ends.
SELECT day, key, extract(epoch FROM (day + 1)::timestamp - now() AT TIME ZONE 'UTC')::float8 AS seconds_left
FROM anonymity_keys WHERE day = (now() AT TIME ZONE 'UTC')::date

-- name: dedicated
-- Which guilds have a shard of their own.
SELECT guild_id, shard_id FROM dedicated ORDER BY guild_id

-- name: transfers_under_way
-- The transfers that somebody still has to do something for.
SELECT transfer_id, guild_id, source, target, state, detail FROM transfers
WHERE state IN ('moving', 'moved', 'finished') ORDER BY transfer_id

-- name: read_transfer
-- One transfer.
SELECT transfer_id, guild_id, source, target, state, detail FROM transfers WHERE transfer_id = $1

-- name: list_transfers
-- The latest transfers.
SELECT transfer_id, guild_id, source, target, state, detail FROM transfers ORDER BY transfer_id DESC LIMIT $1

-- name: home_of
-- Where a guild ($1) belongs now, if it has a shard of its own.
SELECT shard_id FROM dedicated WHERE guild_id = $1

-- name: choose_pod
-- A pod that may have another shard, locked against ending: the named one ($1), or the least burdened with a label ($2 = $3).
SELECT p.pod_id, p.incarnation, p.replica_store FROM pods p
WHERE p.state = 'live' AND p.lease_until > clock_timestamp() AND NOT p.draining AND NOT p.cordoned
  AND ($1::text IS NULL OR p.pod_id = $1) AND ($2::text IS NULL OR p.labels ->> $2 = $3)
  AND p.capacity > (SELECT count(*) FROM shards s WHERE s.owner = p.pod_id OR s.target = p.pod_id)
ORDER BY (SELECT count(*) FROM shards s WHERE s.owner = p.pod_id), p.pod_id LIMIT 1 FOR NO KEY UPDATE

-- name: open_dedicated
-- Make a dedicated shard ($1, number $2 of the formula) a pod's ($3, $4, replica store $5), wanted there ($6). One that was retired goes on
-- with the next epoch; no row while it is in use.
INSERT INTO shards AS s (shard_id, number, epoch, owner, incarnation, last_owner, replica_store, since_epoch, born_epoch, pin)
VALUES ($1, $2, 1, $3, $4, $3, $5, 1, 1, $6)
ON CONFLICT (shard_id) DO UPDATE SET
    epoch = s.epoch + 1, since_epoch = s.epoch + 1, born_epoch = s.epoch + 1, since_move = 0, owner = $3, incarnation = $4, last_owner = $3, replica_store = $5,
    reserved_until = NULL, pin = $6, retired = false
WHERE s.retired
RETURNING shard_id

-- name: forget_load
-- A shard that begins again has no file yet.
DELETE FROM shard_load WHERE shard_id = $1

-- name: begin_transfer
-- Begin to bring a guild ($1) from one shard ($2) to another ($3); no row while it is under way already.
INSERT INTO transfers (guild_id, source, target) VALUES ($1, $2, $3)
ON CONFLICT (guild_id) WHERE state IN ('moving', 'moved', 'finished') DO NOTHING
RETURNING transfer_id, guild_id, source, target, state, detail

-- name: advance_transfer
-- The compare-and-set of a transfer ($1): from one state ($2) to the next ($3), with a detail ($4).
UPDATE transfers SET state = $3, detail = CASE WHEN $4 = '' THEN detail ELSE $4 END,
    finished_at = CASE WHEN $3 IN ('cleared', 'cancelled') THEN clock_timestamp() END
WHERE transfer_id = $1 AND state = $2
RETURNING transfer_id, guild_id, source, target, state, detail

-- name: put_dedicated
-- The guild ($1) belongs to a shard of its own ($2).
INSERT INTO dedicated (guild_id, shard_id) VALUES ($1, $2) ON CONFLICT (guild_id) DO UPDATE SET shard_id = $2

-- name: drop_dedicated
-- The guild belongs to the shard of the formula again.
DELETE FROM dedicated WHERE guild_id = $1

-- name: reroute_inbox
-- Entries that name a shard to which their guild does not belong any more, or not yet.
UPDATE inbox SET shard_id = home.shard_id
FROM (SELECT i.position, coalesce(d.shard_id, ((i.guild_id >> 22) % s.shard_count)::text || '-of-' || s.shard_count::text) AS shard_id
      FROM inbox i CROSS JOIN settings s LEFT JOIN dedicated d ON d.guild_id = i.guild_id
      WHERE i.guild_id IS NOT NULL AND EXISTS (SELECT FROM transfers)) AS home
WHERE inbox.position = home.position AND inbox.shard_id <> home.shard_id

-- name: retire_shard
-- Nobody serves a dedicated shard any more; its row stays, so that its epochs go on growing.
UPDATE shards SET retired = true, owner = NULL, incarnation = NULL, pin = NULL, target = NULL, target_incarnation = NULL, move_id = NULL,
    freed_at = clock_timestamp(), reserved_until = NULL
WHERE shard_id = $1

-- name: stuck_transfers
-- Transfers that have been preparing for longer than $1 seconds.
SELECT transfer_id FROM transfers
WHERE state = 'moving' AND started_at < clock_timestamp() - make_interval(secs => $1) FOR UPDATE SKIP LOCKED

-- name: known_shards
-- Every shard with the last epoch that was granted, those that were given up included.
SELECT shard_id, epoch, retired FROM shards ORDER BY number, shard_id

-- name: adopt_shard
-- Shard $1 (number $2 of the formula) goes on from epoch $4 and is nobody's; its data is in the store $6, for which $5 stands as its last
-- owner. $7: since when it has its present life, $8: it was given up. No row when it is not at epoch $3 any more, or somebody owns it.
INSERT INTO shards AS s (shard_id, number, epoch, last_owner, replica_store, since_epoch, born_epoch, retired)
SELECT $1::text, $2::integer, $4::bigint, $5::text, $6::text, $4, $7::bigint, $8::boolean
WHERE $3::bigint = 0 OR EXISTS (SELECT FROM shards WHERE shard_id = $1)
ON CONFLICT (shard_id) DO UPDATE SET
    epoch = $4, last_owner = $5, replica_store = $6, since_epoch = $4, since_move = 0, born_epoch = $7, retired = $8,
    freed_at = clock_timestamp(), reserved_until = NULL, pin = CASE WHEN $8 THEN NULL ELSE s.pin END
WHERE s.epoch = $3 AND s.owner IS NULL
RETURNING shard_id

-- name: count_as_served
-- A file of the shard ($1) exists somewhere: it never starts empty. What an earlier owner reported says nothing about that file.
INSERT INTO shard_load AS l (shard_id, epoch, guilds, events_per_second, lag_seconds, connected)
VALUES ($1, 0, 0, 0, 0, false)
ON CONFLICT (shard_id) DO UPDATE SET replicated_seq = 0

-- name: cancel_transfers
-- Whatever was under way is over; what the files say of it is written down afterwards.
UPDATE transfers SET state = 'cancelled', detail = 'The database was adopted.', finished_at = clock_timestamp()
WHERE state IN ('moving', 'moved', 'finished')

-- name: settle_transfer
-- What became of a transfer ($1; 0 takes the next number) of a guild ($2) from one shard ($3) to another ($4): $5.
INSERT INTO transfers (transfer_id, guild_id, source, target, state, detail, finished_at)
VALUES (CASE WHEN $1::bigint = 0 THEN nextval('transfers_transfer_id_seq') ELSE $1 END, $2::bigint, $3::text, $4::text, $5::text,
        'Settled by an adoption.', CASE WHEN $5 = 'cancelled' THEN clock_timestamp() END)
ON CONFLICT (transfer_id) DO UPDATE SET
    guild_id = excluded.guild_id, source = excluded.source, target = excluded.target, state = excluded.state, detail = excluded.detail,
    finished_at = excluded.finished_at

-- name: skip_numbers
-- The shard files remember numbers of moves and transfers that another database gave. Seconds since 1970 are beyond all of them.
SELECT setval('moves_move_id_seq', greatest(nextval('moves_move_id_seq'), extract(epoch FROM clock_timestamp())::bigint)),
       setval('transfers_transfer_id_seq', greatest(nextval('transfers_transfer_id_seq'), extract(epoch FROM clock_timestamp())::bigint))
