/*
 * The steps of ownership.pml: what each statement, message and file operation does to the state. Included there, after the state.
 * Nothing here decides when a step happens.
 */

#define gate(p)      (up[p] && live[p])
#define owns(p)      (owner == p && owned_by_newest)
#ifdef STOPPED_FOR_ANY_MOVE
#define answers(p, m) (up[p] && batch[p] == 0)
#else
#define answers(p, m) (up[p] && batch[p] == 0 && (phase[p] != STOPPED || at_move[p] == m))
#endif
#define fold(f)      (f.seen == (1 << f.seq) - 1)

inline copy(from, to) { to.epoch = from.epoch; to.seq = from.seq; to.seen = from.seen }
inline drop(f)        { f.epoch = 0; f.seq = 0; f.seen = 0 }
inline discard(p)     { drop(file[p]); confirmed[p] = 0 }

/* shard/dispatching.py: an event and its number in one transaction */
inline apply(f, n) {
    twice = f.seen & (1 << (n - 1));
    f.seen = f.seen | (1 << (n - 1));
    f.seq = n;
    if
    :: twice || !fold(f) -> assert(I3_once_in_order)
    :: else
    fi
}

inline clear_move() { move = 0; target = 0; target_same = false }

/* A grant of any kind: the next epoch, and no move survives it */
inline next_epoch(p) {
    epoch++; owner = p; owned_by_newest = true;
#ifndef GRANTS_KEEP_MOVE
    clear_move()
#endif
}

/* The pod's own next incarnation takes what its predecessor had */
inline reclaim(p) { next_epoch(p); arrived_by = 0 }

/* Takeover (by_move 0) and completion of a handoff */
inline grant_to(p, by_move) {
    next_epoch(p);
    if
    :: last != p -> since = epoch
    :: else
    fi;
    last = p; arrived_by = by_move
}

inline let_go(p) { phase[p] = OUT; mine[p] = 0; mine_since[p] = 0; at_move[p] = 0; cancelled[p] = 0; on[p] = false; got[p] = 0; batch[p] = 0 }

/* Who no longer waits for an answer does not get it */
inline leave_move(p) {
    if
    :: phase[p] == ASKING -> drop(tail[at_move[p]])
    :: else
    fi
}

/* A process ends, in whatever way; its disk stays */
inline end_process(p) { up[p] = false; leave_move(p); let_go(p); drop(staged[p]) }

/* A lease ran out and a sweep found it: this incarnation has ended for ever */
inline lose(p) {
    live[p] = false;
    if
    :: owner == p -> owner = NOBODY; clear_move()
    :: target == p && move != 0 -> clear_move()
    :: else
    fi
}

/* "finish" arrives at a source that has committed everything: intake stops, the tail goes out. Once more: the same tail. While it is
   stopped for one move it does not answer another: the target of that one asks again. */
inline finish(p, m) {
    if
    :: (phase[p] == SERVING || phase[p] == STOPPED) && mine[p] == asked[m] ->
        phase[p] = STOPPED; at_move[p] = m; on[p] = false; got[p] = 0;
        if
        :: phase[dest[m]] == ASKING && at_move[dest[m]] == m -> copy(file[p], tail[m])
        :: else                                   /* who asked has gone */
        fi
    :: else                                       /* 409 */
    fi;
#ifdef ASKS_AGAIN_WHEN_REFUSED
    if :: phase[p] == STOPPED -> asked[m] = 0 :: else fi;
#else
    asked[m] = 0;
#endif
    m = 0
}

/* The one compare-and-set of a handoff */
#ifdef COMPLETE_WITHOUT_INCARNATION
#define same_target(m) true
#else
#define same_target(m) (target == dest[m] && target_same && live[dest[m]])
#endif
#ifdef COMPLETE_WITHOUT_MOVE
#define same_move(m)   (move != 0)
#else
#define same_move(m)   (move == m)
#endif
#ifdef COMPLETE_WITHOUT_EPOCH
#define same_owner(m)  true
#else
#define same_owner(m)  (owner == source[m] && epoch == completing[m])
#endif
inline complete(m) {
    if
    :: same_target(m) && same_move(m) && same_owner(m) -> same = target_same; grant_to(dest[m], m); owned_by_newest = same
    :: else
    fi;
    completing[m] = 0; m = 0
}

/* A file gets its epoch and its place */
inline stamp(p) {
    file[p].epoch = mine[p];
    confirmed[p] = 0;
    if
    :: p != 0 && file[0].epoch == mine[p] -> assert(I8_shared_path)
    :: p != 1 && file[1].epoch == mine[p] -> assert(I8_shared_path)
#if PODS > 2
    :: p != 2 && file[2].epoch == mine[p] -> assert(I8_shared_path)
#endif
    :: else
    fi
}

/* A crashed pod's lease ran out; a shard without an owner is granted */
inline sweep(p) {
    if
    :: atomic { live[p] && !up[p] -> lose(p) }
    :: atomic { owner == NOBODY && live[p] -> grant_to(p, 0) }
    fi
}

inline begin(to) {
    atomic { more_moves > 0 && move == 0 && owner != NOBODY && owner != to && owned_by_newest && live[owner] && live[to] ->
        more_moves--; moves++;
        move = moves; target = to; target_same = true;
        source[moves] = owner; dest[moves] = to }
}
