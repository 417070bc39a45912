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
`verdicts`.

What the words mean:

- *record*: one thing told, in the vocabulary of the JSON interface.  Terminal, JSON and log live on the same.
- *floor*: the shield keeps the address shut above every allow; told, closed at once, never asked.
- *guarded*: private, the host's loopback or a metadata service: nothing allows it by the way.
- *allowed by*: the policy of which an `allow` rule has matched a request: nothing denies that by itself.
- *set aside*: answered without a verdict, skipped (for a minute) or muted (for the session).
- *label*: what a request is asked under: the name of its address that was looked up last, else its address.
- *muted*: a label that is not asked about, on any port and, for a name, at any address.  A request is
  muted if its address is, or the name it is asked under now; so an address that has another name since is
  asked under that, and whoever forges a muted name for an address only silences that address.
- *rest*: of an address of which 64 requests are open, one more stands for all its other ports (`ports`), and
  counts them; a rule about a port picks that port out of it.
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
told once.
"""
