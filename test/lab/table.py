"""The table of all ends: every cause, in every phase, under every manager, and what must come of it.

What an operator may rely on, in one place. ROWS is read from top to bottom, the first row that fits a cell decides. A row either says
what is expected:

    exit      the exit code that the manager sees, or the signal's name; None: the process goes on
    verdict   why it ended, as `gateway history` (of a standby: its log) tells it; None: nothing is recorded
    then      what the manager does next:
                up       another incarnation is there, in the phase that its state calls for
                same     the same process goes on, or has begun anew in place
                down     it stays down, and is not called failed
                failed   it stays down, called failed
                ended    nobody is there who could start it again
                standby  it waits for the home's owner

or is an Impossible, with the reason why there is no such cell. A new phase or cause is a row here and a method in table_player.py.
"""

from dataclasses import dataclass

SYSTEMD = ("systemd system", "systemd user")
SUPERVISORS = ("runit", "s6", "supervisord")
CONTAINERS = ("container", "tini")
ALONE = (*CONTAINERS, "bare")  # nobody inside starts them again
MANAGERS = (*SYSTEMD, "container", "bare", "tini", *SUPERVISORS)
MANAGED = (*SYSTEMD, *SUPERVISORS)

PHASES = ("before ready", "idle", "in a turn", "draining", "standby", "backing off")

CAUSES = {
    "stop": "the manager was told to stop it (docker stop for a container)",
    "restart": "the manager was told to restart it",
    "signal": "the manager was told to send SIGTERM and nothing more (systemctl kill, sv term, s6-svc -t, supervisorctl signal)",
    "kill": "kill from a shell",
    "kill -9": "kill -9 from a shell (docker kill for PID 1 of a container)",
    "crash": "a fatal signal, SIGSEGV",
    "gateway stop": "talaria gateway stop",
    "gateway restart": "talaria gateway restart",
    "SIGINT": "kill -INT from a shell",
    "SIGQUIT": "kill -QUIT from a shell",
    "SIGHUP": "kill -HUP from a shell",
    "second stop": "the same stop again while it drains",
    "wrong configuration": "a configuration error at the start",
    "home taken": "another gateway owns the home at the start",
}


@dataclass(frozen=True)
class Expect:
    exit: int | str | None
    verdict: str | None
    then: str

    def __str__(self):
        shown = "-" if self.exit is None else str(self.exit).removeprefix("SIG")
        return f"{shown} {self.verdict or '-'} {self.then}"


@dataclass(frozen=True)
class Impossible:
    why: str


ANY = None
FROM_A_SHELL = ("kill", "SIGINT", "SIGQUIT")
FATAL = {"kill -9": "SIGKILL", "crash": "SIGSEGV"}

ROWS = [
    # ---- cells that can't be
    ("stop", ANY, "bare", Impossible("no manager that could be told; see gateway stop")),
    ("restart", ANY, "bare", Impossible("no manager that could be told; see gateway restart")),
    ("signal", ANY, "bare", Impossible("no manager that could be told; see kill")),
    ("restart", ANY, CONTAINERS, Impossible("a runtime restarts a container by its stop and a start: see stop")),
    ("signal", ANY, CONTAINERS, Impossible("a runtime stops a container by just this signal: see stop")),
    ("second stop", ("before ready", "idle", "standby", "backing off"), ANY, Impossible("there is no drain in which a second one could come")),
    ("second stop", "in a turn", ANY, Impossible("this is its first stop; see draining")),
    ("second stop", ANY, "bare", Impossible("no manager that could be told; see gateway stop")),
    ("wrong configuration", PHASES[1:], ANY, Impossible("the configuration is read at the start")),
    ("home taken", PHASES[1:], ANY, Impossible("the home is claimed at the start")),
    ("gateway restart", "standby", ANY, Impossible("the command asks the owner, not who waits for it")),
    ("gateway stop", "standby", (*ALONE, *SUPERVISORS), Impossible("the command asks the owner, not who waits for it")),

    # ---- at the start
    ("wrong configuration", ANY, SYSTEMD, Expect(78, None, "failed")),
    ("wrong configuration", ANY, SUPERVISORS, Expect(78, None, "down")),
    ("wrong configuration", ANY, ALONE, Expect(78, None, "ended")),
    ("home taken", ANY, "bare", Expect(73, None, "ended")),
    ("home taken", ANY, ANY, Expect(None, None, "standby")),

    # ---- PID 1 can't die of a signal of its own (pid_namespaces(7)), so it exits with what a shell would say
    ("crash", ANY, "container", Expect(128 + 11, "crash", "ended")),

    # ---- while it drains because of a stop, the first cause stands
    ("restart", "draining", SYSTEMD, Expect(0, "planned", "up")),       # the job of the restart takes the stop's place
    ("gateway restart", "draining", SYSTEMD, Expect(0, "planned", "up")),
    ("restart", "draining", "runit", Expect(75, "planned", "up")),      # sv restart means up again, and 0 would mean down
    ("restart", "draining", "s6", Expect(0, "planned", "down")),        # s6-svc -r signals what runs; it is wanted down
    ("restart", "draining", "supervisord", Expect(0, "planned", "down")),  # supervisorctl can't start what still stops, and says so
    ("kill -9", "draining", SYSTEMD, Expect("SIGKILL", "crash", "failed")),
    ("crash", "draining", SYSTEMD, Expect("SIGSEGV", "crash", "failed")),
    *((cause, "draining", SUPERVISORS, Expect(name, "crash", "down")) for cause, name in FATAL.items()),
    *((cause, "draining", ALONE, Expect(name, "crash", "ended")) for cause, name in FATAL.items()),
    (ANY, "draining", MANAGED, Expect(0, "planned", "down")),
    (ANY, "draining", ALONE, Expect(0, "planned", "ended")),

    # ---- told to the manager
    ("stop", ANY, MANAGED, Expect(0, "planned", "down")),
    ("stop", ANY, CONTAINERS, Expect(0, "planned", "ended")),
    ("restart", ANY, (*SYSTEMD, "supervisord"), Expect(0, "planned", "up")),
    ("restart", ANY, ("runit", "s6"), Expect(75, "restart", "up")),
    ("signal", ANY, (*SYSTEMD, "supervisord"), Expect(1, "unplanned", "up")),
    ("signal", ANY, ("runit", "s6"), Expect(75, "restart", "up")),      # can't be told from sv restart, s6-svc -r

    # ---- told to the gateway
    ("gateway stop", ANY, MANAGED, Expect(0, "planned", "down")),
    ("gateway stop", ANY, ALONE, Expect(0, "planned", "ended")),
    ("gateway restart", ANY, SYSTEMD, Expect(0, "planned", "up")),
    ("gateway restart", ANY, SUPERVISORS, Expect(75, "restart", "up")),
    ("gateway restart", ANY, ALONE, Expect(None, "restart", "same")),

    # ---- told to nobody
    ("SIGHUP", ANY, ANY, Expect(None, None, "same")),
    (FROM_A_SHELL, ANY, MANAGED, Expect(1, "unplanned", "up")),
    (FROM_A_SHELL, ANY, ALONE, Expect(1, "unplanned", "ended")),
    *((cause, ANY, MANAGED, Expect(name, "crash", "up")) for cause, name in FATAL.items()),
    *((cause, ANY, ALONE, Expect(name, "crash", "ended")) for cause, name in FATAL.items()),
]


def _fits(pattern, value):
    return pattern is ANY or value == pattern or (isinstance(pattern, tuple) and value in pattern)


def expected(cause, phase, manager):
    for causes, phases, managers, outcome in ROWS:
        if _fits(causes, cause) and _fits(phases, phase) and _fits(managers, manager):
            return outcome
    raise LookupError(f"the table says nothing about {cause!r} in phase {phase!r} under {manager}")


def cells(manager):
    """(cause, phase, outcome) of every cell of that manager, the impossible ones included."""
    return [(cause, phase, expected(cause, phase, manager)) for phase in PHASES for cause in CAUSES]
