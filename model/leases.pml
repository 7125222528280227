/*
 * Leases and effects: who may act, when the network delays everything and processes stop and go on at any line.
 *
 * Purpose. The page docs/discussions/model.md maps each step to the code. This model answers one question: can the pod's belief ("my
 * lease lasts that long") be wrong in a way that lets an effect land in Discord after somebody else has been made the owner? The
 * other model, ownership.pml, takes "the gate says yes only while the incarnation is live in PostgreSQL" from here.
 *
 * Time is relative: every timer holds what remains of it and one step, tick, takes one unit from all of them. So runs of any length are
 * covered; only the number of grants is bounded. Nothing forces a process to take its next step before a tick: every process
 * may be stopped (SIGSTOP) at every line for any time, and every message may take any time or never arrive.
 *
 * It refuses to model: clocks that run at different speeds, files (see ownership.pml), and a process that is stopped between the gate
 * and the send. That last one is a known limit; STOPPED_AFTER_GATE shows it.
 *
 * Broken variants, each must be found: COUNTED_FROM_RECEIPT, NO_GATE, GATE_ASKS_FOR_NOW, ENDED_MAY_RENEW, STOPPED_AFTER_GATE.
 */

#define PODS    2
#define NOBODY  PODS
#define TTL     4          /* a lease, in ticks */
#define REQUEST 2          /* the time limit of one request to Discord */
#ifndef GRANTS
#define GRANTS  5          /* epochs that are handed out in a run */
#endif

/* What assertions are called; the checker reads the name from the error. All are false. */
hidden byte I1_one_owner, I2_no_effect_of_an_old_owner;

/* PostgreSQL */
byte owner = 0, epoch = 1, since = 1;     /* the shard's row; since: first epoch of the pod's unbroken ownership */
byte last = 0;                            /* last owner */
bool live[PODS];                          /* whether the pod's newest incarnation is alive as far as PostgreSQL knows */
byte left[PODS];                          /* what remains of its lease */

/* A pod's process. One that runs is the newest incarnation: it holds the lock of the volume. */
bool up[PODS];
byte mine[PODS];                          /* the epoch under which it believes to own the shard; 0: it does not */
byte belief[PODS];                        /* what remains of the lease by its own count */
bool passed[PODS];                        /* STOPPED_AFTER_GATE: the gate said yes, and the request has not been sent */

/* The network: one renewal per process, as the keeper never has two under way */
mtype = { NONE, ASKED, GRANTED, ENDED };
mtype renewal[PODS] = NONE;
byte age[PODS];                           /* ticks since before it was sent, at most TTL */
byte granted[PODS];                       /* the epoch that the answer tells; 0: no shard */

/* An effect on its way to Discord: it lands before its time limit or never */
byte flying[PODS];                        /* what remains of its time limit */
byte stamp[PODS];                         /* the epoch under which it left */

#define valid_for(p, ticks) (mine[p] != 0 && belief[p] >= (ticks) && belief[p] > 0)

inline grant_to(p) {
    epoch++;
    if
    :: last != p -> since = epoch
    :: else
    fi;
    owner = p; last = p
}

inline end_process(p) {
    up[p] = false; mine[p] = 0; belief[p] = 0; passed[p] = false;
    renewal[p] = NONE; age[p] = 0; granted[p] = 0
}

/* cluster/leases.py: the keeper; discord/rest.py: the gate */
proctype Pod(byte p) {
    do
    /* before sending: the count begins */
    :: atomic { up[p] && renewal[p] == NONE -> renewal[p] = ASKED; age[p] = 0 }

    /* the answer arrives, if ever */
    :: atomic { up[p] && renewal[p] == GRANTED ->
#ifdef COUNTED_FROM_RECEIPT
        belief[p] = TTL;
#else
        belief[p] = TTL - age[p];
#endif
#ifdef ENDED_MAY_RENEW
        if :: granted[p] != 0 -> mine[p] = granted[p] :: else fi;
#else
        mine[p] = granted[p];
#endif
        renewal[p] = NONE; age[p] = 0; granted[p] = 0 }

    /* 409: this incarnation has ended, the process ends */
    :: atomic { up[p] && renewal[p] == ENDED -> end_process(p) }

    /* the request or its answer is lost, or the keeper stops waiting */
    :: atomic { up[p] && renewal[p] != NONE -> renewal[p] = NONE; age[p] = 0; granted[p] = 0 }

    /* an effect leaves */
#ifdef STOPPED_AFTER_GATE
    :: atomic { up[p] && !passed[p] && flying[p] == 0 && valid_for(p, REQUEST) -> passed[p] = true }
    :: atomic { up[p] && passed[p] -> passed[p] = false; flying[p] = REQUEST; stamp[p] = mine[p] }
#else
    :: atomic { up[p] && flying[p] == 0 &&
#ifdef NO_GATE
        mine[p] != 0
#else
#ifdef GATE_ASKS_FOR_NOW
        valid_for(p, 1)
#else
        valid_for(p, REQUEST)
#endif
#endif
        -> flying[p] = REQUEST; stamp[p] = mine[p] }
#endif

    /* it lands in Discord, whatever has become of the process. Its pod must still be the owner: nobody else was granted anything
       since it left. (The pod's next incarnation may have been: it finds the effect in the same journal.) */
    :: atomic { flying[p] > 0 ->
        if
        :: owner == p && stamp[p] >= since && stamp[p] <= epoch
        :: owner == NOBODY && last == p && left[p] > 0
        :: else -> assert(I2_no_effect_of_an_old_owner)
        fi;
        flying[p] = 0; stamp[p] = 0 }

    /* crash; and the start of the next incarnation, which holds the lock of the volume */
    :: atomic { up[p] -> end_process(p) }
    :: atomic { !up[p] && epoch < GRANTS ->
        up[p] = true;
        live[p] = true; left[p] = TTL;
        if
        :: owner == p || (owner == NOBODY && last == p) -> epoch++; owner = p
        :: else
        fi;
        renewal[p] = NONE }

    /* I1, watched at every instant: who may act is who the row names */
    :: atomic { up[p] && valid_for(p, 1) && !(owner == p && epoch == mine[p] && live[p]) ->
        assert(I1_one_owner) }
    od
}

inline answer(q) {
    if
#ifdef ENDED_MAY_RENEW
    :: true ->
#else
    :: live[q] ->                         /* a lease that ran out and that nobody swept is simply renewed */
#endif
        left[q] = TTL; live[q] = true; renewal[q] = GRANTED;
        if
        :: owner == q -> granted[q] = epoch
        :: else -> granted[q] = 0
        fi
#ifndef ENDED_MAY_RENEW
    :: else -> renewal[q] = ENDED
#endif
    fi;
    q = 0
}

inline take_over(q) {
    live[q] = false;
    if
    :: owner == q -> owner = NOBODY
    :: else
    fi;
    q = 0
}

/* services/config: leases.renew, sweeping.sweep. Each step is one transaction. */
proctype Config() {
    byte p;
    do
    :: atomic { renewal[0] == ASKED -> p = 0; answer(p) }
    :: atomic { renewal[1] == ASKED -> p = 1; answer(p) }
    :: atomic { live[0] && left[0] == 0 -> p = 0; take_over(p) }
    :: atomic { live[1] && left[1] == 0 -> p = 1; take_over(p) }
    :: atomic { owner == NOBODY && epoch < GRANTS && live[0] && left[0] > 0 -> grant_to(0) }
    :: atomic { owner == NOBODY && epoch < GRANTS && live[1] && left[1] > 0 -> grant_to(1) }
    od
}

#define less(x) x = (x > 0 -> x - 1 : 0)
#define older(p) age[p] = (renewal[p] != NONE && age[p] < TTL -> age[p] + 1 : age[p])

proctype Time() {
    do
    :: atomic { true ->
        less(left[0]); less(belief[0]); less(flying[0]); older(0);
        less(left[1]); less(belief[1]); less(flying[1]); older(1);
        if :: flying[0] == 0 -> stamp[0] = 0 :: else fi;
        if :: flying[1] == 0 -> stamp[1] = 0 :: else fi }
    od
}

init {
    atomic {
        up[0] = true; up[1] = true; live[0] = true; live[1] = true;
        left[0] = TTL; left[1] = TTL; mine[0] = 1; belief[0] = TTL;
        run Pod(0); run Pod(1); run Config(); run Time()
    }
}
