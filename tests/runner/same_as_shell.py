"""The same scripts under the runner's own shell executor and under a driver: what a job can see of the difference.

What differs is a failure, unless STATED says why it may.
"""

import re
import signal
from dataclasses import dataclass

from coordinator import Job
from scenarios import scenario

# What a job finds around it, one line each: KEY=VALUE.
PROBE = r"""
show() { printf '%s=%s\n' "$1" "${2//$'\n'/ ; }"; }
me=$BASHPID
kind() { local target; target=$(readlink "/proc/$me/fd/$1"); show "fd.$1" "${target%%:\[*}"; }
show bash.flags "$-"
show bash.options "$SHELLOPTS"
show bash.shopt "$BASHOPTS"
show bash.zero "$0"
show bash.arguments "$(tr '\0' ' ' < /proc/$$/cmdline)"
show bash.traps "$(trap -p)"
show bash.level "$SHLVL"
kind 0; kind 1; kind 2
show fds.one-pipe "$([ "$(readlink /proc/$me/fd/1)" = "$(readlink /proc/$me/fd/2)" ] && echo yes || echo no)"
show fds.child "$(bash -c 'for f in /proc/$$/fd/*; do [ -e "$f" ] && echo "${f##*/}"; done' | sort -n | tr '\n' ' ')"
show stdin.bytes "$(wc -c)"
show umask "$(umask)"
show directory "$PWD"
show process.group-leader "$([ "$(cut -d' ' -f5 /proc/$$/stat)" = $$ ] && echo yes || echo no)"
show process.session-leader "$([ "$(cut -d' ' -f6 /proc/$$/stat)" = $$ ] && echo yes || echo no)"
show process.terminal "$(cut -d' ' -f7 /proc/$$/stat)"
show process.nice "$(cut -d' ' -f19 /proc/$$/stat)"
show process.oom "$(cat /proc/$$/oom_score_adj)"
show process.cgroup "$(cat /proc/$$/cgroup)"
show process.identity "$(id)"
for k in SigBlk SigIgn CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp; do show "status.$k" "$(grep "^$k:" /proc/self/status | cut -f2)"; done
while read -r line; do show "limit.soft.${line%%  *}" "${line##*)}"; done < <(ulimit -aS)
while read -r line; do show "limit.hard.${line%%  *}" "${line##*)}"; done < <(ulimit -aH)
while IFS= read -r -d '' entry; do show "env.${entry%%=*}" "${entry#*=}"; done < <(env -0)
"""

# What may differ: a regular expression for the key, and why. Keys are those of the probe, and `CASE: what`.
STATED = {
    r"bash\.(arguments|zero)": "the shell executor feeds the script to bash through stdin, the custom executor hands over a file",
    r"env\.TMPDIR": "each job has its own folder, which goes with it",
    r"env\.OLDPWD": "the folder in which the runner starts a stage",
    r"env\.AWS_\w+": "what opens the lock table is not for jobs",
    r"env\.PIPELINE_LOCK_\w+": "what the job may know of its lock",
    r"fds\.one-pipe": "one pipe for both keeps the order in which a script writes",
    r"process\.cgroup": "a job may have one of its own",
}
# A runner before 17.9 takes no exit code from a driver: it always reports 1.
STATED_BEFORE_17_9 = {r".*: exit code": "this runner takes no exit code from a driver"}
# What the driver that does nothing leaves as it is.
STATED_PLAIN = {
    r"env\.(CUSTOM_ENV_\w+|JOB_RESPONSE_FILE|BUILD_(FAILURE_EXIT_CODE|EXIT_CODE_FILE)|SYSTEM_FAILURE_EXIT_CODE)": "meant for drivers, not kept from the job",
    r"bash\.shopt|env\.PATH": "the shell executor's bash is a login shell: /etc/profile sets PATH anew",
    r"bash\.level|env\.SHLVL": "the driver is a bash as well",
    r"process\.group-leader": "the script shares the driver's process group",
    r"shell killed by \w+: output": "the driver's bash tells of it",
    r"own process group killed by \w+: .*": "the driver dies with it",
}

ALTERNATING = "for i in $(seq 1000); do echo out $i; echo err $i >&2; done"

CASES = {
    "success": "echo hello",
    "no newline at the end": "printf 'no newline'",
    "binary output": r"printf '\000\001\377\376\r\n\033[31mred\033[0m\n'",
    "a line of a million characters": "head -c 1000000 /dev/zero | tr '\\0' x",
    "stderr alone": "echo to stderr >&2",
    "variable of 100 KiB": 'echo "${#BIG} $(printf %s "$BIG" | md5sum)"',
    "variable with quotes and newlines": "printf '%s' \"$QUOTED\" | md5sum",
    "exit 42": "exit 42",
    "exit 255": "exit 255",
    "failing command": "false",
    "failing in a pipe": "false | cat",
    "subshell killed by KILL": "kill -9 $BASHPID",
    "shell killed by KILL": "kill -9 $$",
    "shell killed by TERM": "kill -TERM $$; sleep 1",
    "shell killed by SEGV": "kill -SEGV $$; sleep 1",
    "own process group killed by KILL": "kill -9 0",
    "own process group killed by TERM": "kill -TERM 0; sleep 1",
    "stdout closed": "exec >&- 2>&-; sleep 0.1; true",
    "reads stdin": "cat; read -r line || echo end of input",
    "a child in a pipe killed by PIPE": "set +o pipefail; yes | head -1",
}
# The runner's own marks in front of each line would be in the way.
VARIABLES = {"FF_TIMESTAMPS": "false", "BIG": "0123456789abcdef" * 6400, "QUOTED": "it's \"quoted\" \\ $HOME `x`\nsecond line\n\ttab ünïcode"}


@dataclass(frozen=True)
class Outcome:
    """How a job ended and what its script printed."""

    job: Job
    output: bytes

    @property
    def facts(self):
        """The parts that are compared, by name. Lines are sorted: newer runners mix the two streams as it happens."""
        return {"state": self.job.status, "reason": self.job.failure_reason, "exit code": self.job.exit_code, "output": sorted(self.output.split(b"\n"))}


def _run(world, section, script):
    job = world.job(section, script.strip().splitlines(), variables=VARIABLES)
    job.wait_finished(60)
    world.expect(job.trace_intact, f"the log of job {job.id} is not what the runner's checksum says")
    return Outcome(job, _output(job))


def _output(job):
    """What the script printed, without what the runner adds, and without process numbers.

    Where its end can't be told from the runner's closing words (no newline before them), a newline is missing as well.
    """
    trace = bytes(job.trace).replace(b"\r\x1b[0K", b"\n")
    _, found, rest = trace.partition(b"stage of the job script\x1b[0;m\x1b[0;m\n")
    if not found:
        return b"(the script never ran)"
    rest = re.sub(rb"\A\x1b\[0;33mWARNING: Starting with version.*\n", b"", rest)  # about the stage's name, for drivers alone
    rest = re.sub(rb"(?s)\x1b\[32;1m\$ .*?\x1b\[0;m\n", b"", rest)  # the echo of each command
    rest = re.split(rb"section_end:", rest)[0]
    rest = re.sub(rb"(?m)^\S*: line \d+: +\d+ ", b"bash: line N: PID ", rest)
    return re.sub(rb"(?ms)^ +\d+ (\w+) +\| \(?eval .*", rb"PID \1 | eval SCRIPT", rest)


def _probe(outcome):
    """The probe's lines as a dictionary, without what differs from job to job."""
    text = outcome.output.decode("utf-8", "replace")
    folder = re.search(r"^env\.CI_PROJECT_DIR=(.+)", text, re.MULTILINE)
    replaced = [(outcome.job.payload["token"], "TOKEN"), (str(outcome.job.id), "JOB"), (str(outcome.job.id + 500000), "PIPELINE")]
    for value, name in replaced + ([(folder[1], "FOLDER")] if folder else []):
        text = text.replace(value, name)
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    found["bash.flags"] = found.get("bash.flags", "").replace("s", "")  # s: it reads its script from stdin
    return found


def _differences(shell, driver, prefix=""):
    """(key, value under shell, value under the driver) of all that is not the same in two dictionaries."""
    keys = sorted(shell.keys() | driver.keys())
    return [(prefix + key, shell.get(key), driver.get(key)) for key in keys if shell.get(key) != driver.get(key)]


def _brief(value):
    text = "absent" if value is None else repr(value)
    return text if len(text) <= 120 else f"{text[:60]} ... {text[-40:]} ({len(value)} long)"


def _with_signal(name, facts):
    """The shell executor reports -1 for a shell that a signal ended; a driver says 128 and the signal's number, as shells do."""
    if facts["exit code"] == -1:
        facts = {**facts, "exit code": 128 + signal.Signals[f"SIG{name.split()[-1]}"]}
    return facts


def _order(outcome):
    lines = [line for line in outcome.output.split(b"\n") if line.startswith((b"out ", b"err "))]
    wanted = [f"{what} {i}".encode() for i in range(1, 1001) for what in ("out", "err")]
    whole = len(set(lines) & set(wanted))
    return "kept" if lines == wanted else f"lost ({whole} of {len(wanted)} lines whole)"


def _verdict(world, differences, stated):
    """Fails on those that no stated reason covers; notes the stated ones, alike ones together."""
    unstated, covered = [], {}
    for key, shell, driver in differences:
        line = f"{key}: {_brief(shell)} under shell, {_brief(driver)} under the driver"
        why = next((why for pattern, why in stated.items() if re.fullmatch(pattern, key)), None)
        if why:
            covered.setdefault(why, []).append(line)
        else:
            unstated.append(line)
    for why, lines in covered.items():
        world.note(f"differs, {why}: {'; '.join(lines[:3])}" + (f"; and {len(lines) - 3} more" if len(lines) > 3 else ""))
    world.expect(not unstated, "\n     ".join(["differences that are not stated:", *unstated]))


def _compare(world, driver, stated):
    world.runner_with("both", [("shell", "shell"), (driver, driver)])
    differences = _differences(_probe(_run(world, "shell", PROBE)), _probe(_run(world, driver, PROBE)))
    for name, script in CASES.items():
        shell, other = _run(world, "shell", script), _run(world, driver, script)
        differences += _differences(_with_signal(name, shell.facts), other.facts, f"{name}: ")
    orders = [_order(_run(world, section, ALTERNATING)) for section in ("shell", driver)]
    world.note(f"order of 2,000 alternating lines: {orders[0]} under shell, {orders[1]} under the driver")
    if world.options.version < (17, 9, 0):
        stated = {**stated, **STATED_BEFORE_17_9}
    _verdict(world, differences, stated)
    return orders[1]


@scenario("plain-as-shell", needs_lock=False)
def plain_as_shell(world):
    """What a driver that does nothing changes for scripts, against the runner's shell executor."""
    _compare(world, "plain", {**STATED, **STATED_PLAIN})


@scenario("same-as-shell", settings={"shell": ["bash", "-l"]})
def same_as_shell(world):
    """With `shell: [bash, -l]`, scripts see and report the same as under the runner's shell executor, but for stated differences."""
    order = _compare(world, "lock", STATED)
    world.expect(order == "kept", f"the order of stdout and stderr was {order}")
