"""The decisions: what is open, what was answered, which verdict runs next.  Pure.

How it works, in one page.  A packet that was blocked becomes a *request*: one container, address, protocol
and port.  A request waits until something answers it: an operator's key, a script's line, a rule of the
policy, or a verdict on its address that was meant for another.  An answer that needs the shield becomes a
*job*, one run of `terok-shield allow|deny` on an address or a name; one runs at a time for a container.
Its end is told as a `verdict`, closes the requests that it covers, opens the others again, and leaves an
*effect*: what should be open or shut from now on.  Packets that come later are held against the effects,
since the command's exit code tells nothing: the first one let out is told, and so is one still blocked.

    packet -> Event -> docket.handle -> Register (requests) -> rules | operator | script -> Jobs
                                           ^                                                  |
                                           +--- Proof (effects) <--- docket.finish <--- Outcome

How a request and a verdict go from state to state is a table: read `states` first, then `docket` and
`verdicts`.  The others each keep one thing:

    requests  a request, an answer            register  all requests, and where to find them
    jobs      the verdicts that wait or run   batch     those of one answer, counted together
    verdict   the command's words             history   what was answered; the last words
    proof     the effects                     shields   each shield's version and state
    ruleset   the policy's rules              policy    the file that they are read from
    rules     which of them decides           byrule    how many each of them has decided
    names     what is asked under which name  aside     what is skipped or muted
    later     what is told, but not at once   ports     how many one request stands for
    losses    what was lost, and when told    budget    how much is kept for a container

Containers come and go.  When one ends (`stop`), what waits for it is closed unanswered, what has not begun is
called off, and what runs has its outcome still.  When one of its name starts (`add_container`), what was
closed and its effects are forgotten, since what was opened may be shut again; what is muted stays so, and the
history stands.  One that is forgotten (`forget`) leaves its part of the summary behind, and nothing else.

No container waits for another.  Each has its own queue of verdicts and its share of every bound; of what is
told a little later they take turns; and whose question comes next is decided on the screen, which has the
requests by container (`waiting_for`, `first_waiting`).

A section of the policy file is a part of its rules for some containers: `Policy.of(container)` has the rules
that hold for one, in the file's order, and whoever decides anything asks that.

A container may be of another session, on another machine perhaps, that asks and runs there what is decided
here.  Its packets are not seen here: it tells which requests are open there (`asked_there`), tried again
(`tried_there`) and closed (`closed_there`), and holds its own verdicts against the packets.

What the words mean:

- *record*: one thing told, in the vocabulary of the JSON interface.  Terminal, JSON and log live on the same.
- *floor*: the shield keeps the address shut above every allow; told, closed at once, never asked.
- *guarded*: private, the host's loopback or a metadata service: nothing allows it by the way.
- *allowed in*: the policy, by its number, of which an `allow` rule has matched a request: while that is in
  force, nothing denies the request by itself.
- *in doubt*: blocked while its shield was not up, by which nobody can tell what the shield does else.
- *set aside*: answered without a verdict, skipped (for a minute) or muted (for the session).
- *label*: what a request is asked under: the name of its address that was looked up last, else its address.
- *muted*: a label that is not asked about, on any port and, for a name, at any address.  A request is
  muted if its address is, or the name it is asked under now; so an address that has another name since is
  asked under that, and whoever forges a muted name for an address only silences that address.
- *by hand*: asked once more since the operator wants to be: no rule decides it, and nothing mutes it.
- *painted*: what the operator is looking at: no rule decides it meanwhile, and nothing mutes it.
- *rest*: of an address of which 64 requests are open, one more stands for all its other ports (`ports`), and
  counts them; a rule about a port picks that port out of it.
- *promised*: a request for which a verdict waits or runs, on its address or by a name: it waits for that.
- *covered*: closed by a verdict on its address that was meant for another, or since a packet to its
  address was let out without any verdict of ours.
- *elsewhere*: requests for which a name was allowed that did not lead to their address.
- *batch*: the verdicts of one answer about many addresses: counted, told, and undone together.
- *called off*: a job that has not begun and is not run.  What it was for waits again, and has not failed.
- *late*: a job past its deadline; its outcome is told as unknown, and nothing else runs until it ends.
- *untold*: packets that were counted and never asked about: denied before, multicast and the like.
- *lost*: packets that nobody saw, or that there was no room for; told as that, by where they were lost.
- *last word*: the action applied last to a target; what `u` and "the same again" go by.

What is kept for how long: an open request until it is closed; a closed one until its container's budget is
needed for a newer one (`budget`); an effect until it is contradicted after a minute, or pushed out; what is
muted until it is asked again by hand; that, answers, last words and failures until pushed out, which is
told once.  All of it no longer than its container is remembered.
"""
