/*
 * Ownership: what becomes of a shard's events while processes die, disks are lost, leases run out and shards move.
 *
 * Purpose. The page docs/discussions/model.md maps each step to the code. One shard, two pods, PostgreSQL as atomic guarded statements,
 * Discord's session with replay, one replica path per epoch. Checked: who acts is who the row names (I1, I2); each event is applied once
 * and in order (I3); what is opened or restored is the fold of the events up to its seq (I4); no IDENTIFY is needed (I6); two
 * writers never share a replica path, and nobody starts empty (I8); and every run ends with one owner that has applied everything.
 *
 * How to read it. Each `atomic { guard -> step }` may happen whenever its guard holds, in any order. So every process may be stopped
 * at any line, every message may be late, and each step that reads PostgreSQL is the arrival of an answer. Messages that are lost are
 * messages that come too late. Faults are counted: at most FAULTS crashes, expiries of living pods, lost disks and lost answers in a
 * run, and at most MOVES handoffs.
 *
 * It takes from leases.pml: the gate says yes only while the incarnation is live in PostgreSQL. It refuses to model
 * the content of files (a file is the set of its events), interactions, and a replay window that is too small.
 *
 * Broken variants (-D...), each must be found:
 *   FILE_EPOCH_NOT_COMPARED      a commit does not compare the epoch in the file
 *   LOCAL_WITHOUT_SINCE          a local file is used whatever its epoch
 *   SEQ_AT_RECEIPT               the seq is stored when the event arrives
 *   ACK_OF_COMMITTED             heartbeats acknowledge what is committed, not what the replica has
 *   ACK_WITHOUT_GATE             heartbeats acknowledge although the lease may be over
 *   RESTORED_IN_PLACE            a restored file takes its name before it has its epoch
 *   SERVED_BEFORE_A_SNAPSHOT     a shard counts as served before its first snapshot is in the replica
 *   RESUMES_WITHOUT_CANCELLING   the source serves again after "finish" without asking PostgreSQL
 *   NEVER_CANCELS                the source waits for ever
 *   STOPPED_FOR_ANY_MOVE         a source that is stopped for one move answers "finish" of another
 *   COPY_BY_EPOCH_ALONE          the target uses its copy under any grant of the next epoch
 *   STAMPED_BEFORE_COMPLETE      the target stamps and replicates its copy before it is the owner
 *   COMPLETE_WITHOUT_MOVE        the compare-and-set does not compare the move id
 *   COMPLETE_WITHOUT_INCARNATION ... nor whether the target's incarnation is the one that was named
 *   COMPLETE_WITHOUT_EPOCH       ... nor owner and epoch; found only together with
 *   GRANTS_KEEP_MOVE             other grants do not clear the move. Each of these two alone is harmless: one guards the other.
 *   ASKS_AGAIN_WHEN_REFUSED      the target repeats a refused "finish" at once (found by the search for endless runs)
 */

#ifndef EVENTS
#define EVENTS 2
#endif
#ifndef FAULTS
#define FAULTS 2
#endif
#ifndef MOVES
#define MOVES 2
#endif
#ifndef PODS
#define PODS 2
#endif
#define NOBODY PODS

/* What assertions are called; the checker reads the name from the error. All are false. */
hidden byte I1_one_owner, I3_once_in_order, I4_not_the_fold, I6_identify, I8_shared_path, I8_start_empty, ends_unserved;

typedef File {
    byte epoch;      /* 0: there is no file */
    byte seq;
    byte seen        /* the events whose effects it holds, one bit each */
}

/* PostgreSQL: the shard's row ... */
byte owner = 0;
byte epoch = 1;
byte since = 1;            /* the first epoch of the owner's unbroken ownership */
byte last = 0;             /* last owner */
byte arrived_by;           /* the move whose completion made the owner; 0: none */
byte move;                 /* the move under way; 0: none. Its target incarnation is `target` while `target_same` */
byte target;
bool target_same;          /* the incarnation that the move names is still the newest of its pod */
bool owned_by_newest = true;   /* the row names the newest incarnation of the owner */
/* ... and whether the newest incarnation of each pod is alive */
bool live[PODS];

/* The processes. One that is up is the newest incarnation of its pod. */
mtype = { OUT, OPENING, RESTORED, SERVING, STOPPED, ASKING, READY };
mtype phase[PODS] = OUT;
bool up[PODS];
byte mine[PODS];           /* the epoch of the grant it knows */
byte mine_since[PODS];
byte at_move[PODS];        /* the move it is stopped for, as source, or takes part in, as target */
byte cancelled[PODS];      /* the answer to its cancellation of this move is on its way */
bool on[PODS];             /* connected to Discord */
byte got[PODS];            /* received up to here */
byte batch[PODS];          /* received, not committed */
byte ghost[PODS];          /* a batch of a process that should be dead; its writer may still be in COMMIT */
byte ghost_epoch[PODS];

/* The disks */
File file[PODS];
File staged[PODS];         /* restored, or handed over; not yet the shard's file */

/* The replica. Each epoch has its own path, and only the newest path is ever restored, so only that one is kept here. */
File newest;
byte confirmed[PODS];      /* what the replica has of the file of this pod, in the path of its epoch */

/* Moves, and their messages in the network: each holds the epoch that the target saw, 0 when there is none */
byte moves;                /* moves begun */
byte source[MOVES + 1], dest[MOVES + 1];
byte asked[MOVES + 1];     /* "finish" */
File tail[MOVES + 1];      /* its answer */
byte completing[MOVES + 1];

/* Discord's session: events 1..EVENTS, forgotten up to `trimmed` */
byte trimmed;

hidden byte twice, same;
byte faults = FAULTS;
byte more_moves = MOVES;

#include "ownership_steps.pml"

/* A gateway pod: services/gateway, shard, discord */
proctype Pod(byte p) {
    byte m;
end:
    do
    /* ---- what PostgreSQL says ---- */

    /* the process starts, holds the lock of its volume, registers: what its predecessor owned is its own, in the next epoch */
    :: atomic { !up[p] ->
        up[p] = true; live[p] = true;
        if :: target == p -> target_same = false :: else fi;
        if :: owner == p -> owned_by_newest = false :: else fi;
        if
        :: owner == p || (owner == NOBODY && last == p) -> reclaim(p)
        :: else
        fi }

    /* a grant: take the copy that the move brought, or open what is here */
    :: atomic { gate(p) && owns(p) && epoch != mine[p] ->
        leave_move(p);
        if
#ifdef COPY_BY_EPOCH_ALONE
        :: phase[p] == READY && staged[p].epoch + 1 == epoch -> m = RESTORED
#else
        :: phase[p] == READY && at_move[p] == arrived_by -> m = RESTORED
#endif
        :: else -> m = OPENING; drop(staged[p])
        fi;
        let_go(p);
        phase[p] = m; mine[p] = epoch; mine_since[p] = since; arrived_by = 0;
        m = 0 }

    /* the shard is somebody else's */
    :: atomic { gate(p) && !owns(p) && mine[p] != 0 -> let_go(p); discard(p); drop(staged[p]) }

    /* 409: this incarnation has ended, the process ends */
    :: atomic { up[p] && !live[p] -> end_process(p) }

    /* ---- opening ---- */

    /* A newer path than the grant, and no file of its own: this grant is old. It waits until it hears of that. */
    :: atomic { up[p] && phase[p] == OPENING && (file[p].epoch >= mine_since[p] || newest.epoch <= mine[p]) ->
        if
#ifdef LOCAL_WITHOUT_SINCE
        :: file[p].epoch != 0 ->
#else
        :: file[p].epoch >= mine_since[p] ->      /* in place: the file is ours */
#endif
            stamp(p);
            phase[p] = SERVING;
            if :: !fold(file[p]) -> assert(I4_not_the_fold) :: else fi
        :: else ->                                /* takeover: the newest path that there is, into a file beside */
            discard(p);
            if
            :: newest.epoch == 0 -> assert(I8_start_empty)
            :: else -> copy(newest, staged[p]); phase[p] = RESTORED;
#ifdef RESTORED_IN_PLACE
                copy(newest, file[p])
#endif
            fi
        fi }

    :: atomic { up[p] && phase[p] == RESTORED ->
        if :: !fold(staged[p]) -> assert(I4_not_the_fold) :: else fi;
        copy(staged[p], file[p]); drop(staged[p]);
        stamp(p);                                 /* before it takes its name */
        phase[p] = SERVING }

    /* ---- serving ---- */

    /* RESUME at the seq of the file. Who is refused asks for a permit to IDENTIFY; only the owner gets one, and must never need it. */
    :: atomic { up[p] && phase[p] == SERVING && !on[p] && file[p].seq >= trimmed -> on[p] = true; got[p] = file[p].seq }
    :: atomic { gate(p) && phase[p] == SERVING && !on[p] && file[p].seq < trimmed && owns(p) && epoch == mine[p] -> assert(I6_identify) }

    :: atomic { up[p] && phase[p] == SERVING && on[p] && batch[p] == 0 && got[p] < EVENTS ->
        got[p]++; batch[p] = got[p];
#ifdef SEQ_AT_RECEIPT
        file[p].seq = got[p]
#endif
        }

    :: atomic { up[p] && phase[p] == SERVING && batch[p] != 0 && file[p].epoch == mine[p] -> apply(file[p], batch[p]); batch[p] = 0 }

    /* a batch of a process that was killed: its commit comes late, or never */
    :: atomic { ghost[p] != 0 &&
#ifdef FILE_EPOCH_NOT_COMPARED
        file[p].epoch != 0
#else
        file[p].epoch == ghost_epoch[p]
#endif
        -> apply(file[p], ghost[p]); ghost[p] = 0; ghost_epoch[p] = 0 }
    :: atomic { ghost[p] != 0 -> ghost[p] = 0; ghost_epoch[p] = 0 }

    /* heartbeat: what the replica has, read first; then the gate; then sent */
#ifdef ACK_WITHOUT_GATE
    :: atomic { up[p] && phase[p] == SERVING && on[p] && confirmed[p] > trimmed -> trimmed = confirmed[p] }
#else
#ifdef ACK_OF_COMMITTED
    :: atomic { gate(p) && phase[p] == SERVING && on[p] && file[p].seq > trimmed -> trimmed = file[p].seq }
#else
    :: atomic { gate(p) && phase[p] == SERVING && on[p] && confirmed[p] > trimmed -> trimmed = confirmed[p] }
#endif
#endif

    /* I1 and I2, watched at every instant: it serves, its gate says yes, and the row names another owner or epoch */
    :: atomic { gate(p) && phase[p] == SERVING && !(owns(p) && epoch == mine[p]) -> assert(I1_one_owner) }

    /* Litestream is a process of its own and lives on when the pod is stopped or dead */
    :: atomic { file[p].epoch != 0 && (confirmed[p] < file[p].seq || newest.epoch < file[p].epoch) ->
        confirmed[p] = file[p].seq;
        if :: file[p].epoch >= newest.epoch -> copy(file[p], newest) :: else fi }

    /* ---- handoff, as source ---- */

    :: atomic { asked[1] != 0 && source[1] == p && answers(p, 1) -> m = 1; finish(p, m) }
#if MOVES > 1
    :: atomic { asked[2] != 0 && source[2] == p && answers(p, 2) -> m = 2; finish(p, m) }
#endif

#ifndef NEVER_CANCELS
    /* it has waited too long: it cancels in PostgreSQL. Zero rows, and the row still ours and no longer in this move, count as well. */
    :: atomic { gate(p) && phase[p] == STOPPED && cancelled[p] == 0 && owns(p) && epoch == mine[p] ->
        if :: move == at_move[p] -> clear_move() :: else fi;
        cancelled[p] = at_move[p] }
#endif
    /* the answer: it serves again */
    :: atomic { up[p] && cancelled[p] != 0 ->
        if
        :: phase[p] == STOPPED && cancelled[p] == at_move[p] -> phase[p] = SERVING; at_move[p] = 0
        :: else
        fi;
        cancelled[p] = 0 }
#ifdef RESUMES_WITHOUT_CANCELLING
    :: atomic { up[p] && phase[p] == STOPPED -> phase[p] = SERVING; at_move[p] = 0 }
#endif

    /* ---- handoff, as target ---- */

    :: atomic { gate(p) && phase[p] == OUT && move != 0 && target == p && target_same && owner != p ->
        phase[p] = ASKING; at_move[p] = move; asked[move] = epoch }

    :: atomic { up[p] && phase[p] == ASKING && tail[at_move[p]].epoch != 0 ->
        copy(tail[at_move[p]], staged[p]); drop(tail[at_move[p]]);
#ifdef STAMPED_BEFORE_COMPLETE
        copy(staged[p], file[p]); mine[p] = staged[p].epoch + 1; stamp(p); mine[p] = 0;
#endif
        phase[p] = READY; completing[at_move[p]] = staged[p].epoch }

    /* it gives up: cancels in PostgreSQL (whatever that answers) and forgets its copy */
    :: atomic { gate(p) && (phase[p] == ASKING || phase[p] == READY) && !(owns(p)) ->
        if :: move == at_move[p] -> clear_move() :: else fi;
        leave_move(p); let_go(p); drop(staged[p]) }

    /* ---- faults ---- */

    :: atomic { up[p] && faults > 0 -> faults--;                       /* killed; its writer may be in the middle of a commit */
        if
        :: batch[p] != 0 -> ghost[p] = batch[p]; ghost_epoch[p] = mine[p]
        :: true
        fi;
        end_process(p) }
    :: atomic { !up[p] && faults > 0 && file[p].epoch != 0 -> faults--; discard(p); ghost[p] = 0; ghost_epoch[p] = 0 }   /* its disk is lost */
    :: atomic { up[p] && live[p] && faults > 0 -> faults--; lose(p) }  /* stopped or cut off until its lease ran out */
    od
}

/* services/config: each step is one guarded statement or one transaction */
proctype Config() {
    byte m;
end:
    do
    :: sweep(0)
    :: sweep(1)
    :: begin(0)
    :: begin(1)
#if PODS > 2
    :: sweep(2)
    :: begin(2)
#endif
    :: atomic { move != 0 -> clear_move() }                            /* its time is over */
    :: atomic { completing[1] -> m = 1; complete(m) }
#if MOVES > 1
    :: atomic { completing[2] -> m = 2; complete(m) }
#endif
    od
}

/* Discord, the network, and the end of all faults */
proctype World() {
    do
    :: atomic { faults > 0 || more_moves > 0 -> faults = 0; more_moves = 0 }
    :: atomic { asked[1] != 0 && !up[source[1]] -> asked[1] = 0 }          /* connection refused */
    :: atomic { tail[1].epoch != 0 && faults > 0 -> faults--; asked[1] = tail[1].epoch; drop(tail[1]) }   /* the answer is lost, the target asks again */
#if MOVES > 1
    :: atomic { asked[2] != 0 && !up[source[2]] -> asked[2] = 0 }
    :: atomic { tail[2].epoch != 0 && faults > 0 -> faults--; asked[2] = tail[2].epoch; drop(tail[2]) }
#endif
    /* nothing can happen any more: one owner serves, and has applied everything once */
    :: atomic { timeout ->
        if
        :: owner != NOBODY && gate(owner) && owned_by_newest && phase[owner] == SERVING && mine[owner] == epoch &&
           on[owner] && file[owner].seq == EVENTS && fold(file[owner]) && move == 0 -> break
        :: else -> assert(ends_unserved)
        fi }
    od
}

init {
    atomic {
        up[0] = true; up[1] = true; live[0] = true; live[1] = true;
        phase[0] = OPENING; mine[0] = 1; mine_since[0] = 1;
        file[0].epoch = 1;
#ifndef SERVED_BEFORE_A_SNAPSHOT
        newest.epoch = 1;
#endif
        run Pod(0); run Pod(1);
#if PODS > 2
        up[2] = true; live[2] = true; run Pod(2);
#endif
        run Config(); run World()
    }
}
