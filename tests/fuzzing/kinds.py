"""Who speaks with a session, and what a session of each kind is."""

from fuzzing.script import Conversation
from fuzzing.sitting import Sitting

KINDS = {"person": Sitting, "script": Conversation}
