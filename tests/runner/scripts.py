"""Job scripts of the scenarios: lists of lines, as they stand in .gitlab-ci.yml. Each mark says what happened, whose job it was, when, and in which process."""


def mark(what, pid="$BASHPID"):
    """A line that writes a mark. EPOCHREALTIME needs no process of its own."""
    return f'echo "{what} $CI_JOB_ID $EPOCHREALTIME {pid}" >> "$RUNNER_TEST_MARKS"'


def started():
    """The first lines of every script: the shell that runs it, and the subshell that the runner puts it into."""
    return [mark("begin", "$$"), mark("shell")]


def brief():
    """Begins and ends."""
    return [*started(), mark("end")]


def lasting():
    """Begins, marks that it is alive a few times, ends: long enough for another one to be seen beside it."""
    return [*started(), f'for i in 1 2 3 4 5 6; do {mark("beat")}; sleep 0.05; done', mark("end")]


def until_gate(gate, each=":"):
    """Begins, marks that it is alive until the gate opens (running `each` every time), ends."""
    loop = f'while [ ! -e "$RUNNER_TEST_GATES/{gate}" ]; do {mark("beat")}; {each}; sleep 0.05; done'
    return [*started(), loop, mark("end")]


def for_ever(*before):
    """Begins, does what is given, then never ends by itself."""
    return [*started(), *before, f'while true; do {mark("beat")}; sleep 0.05; done']


# Children that a job may leave behind. Each one writes its own number, so that it is found even with an empty environment.
CHILDREN = {
    "in the background": f'sleep 1000 & {mark("child", "$!")}',
    "in a session of its own": f'setsid sleep 1000 & {mark("child", "$!")}',
    "deaf to TERM": f"""bash -c 'trap "" TERM; while true; do sleep 1; done' & {mark("child", "$!")}""",
    "with an empty environment": f'env -i setsid sleep 1000 & {mark("child", "$!")}',
    "forked twice": f'( setsid bash -c "sleep 1000 & sleep 1000" & {mark("child", "$!")} )',
}
