"""Real GitLab Runner processes, each with a folder and a config.toml of its own."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import processes

PLAIN_DRIVER = Path(__file__).resolve().with_name("plain-driver.sh")


def version(gitlab_runner):
    """The runner's version as a tuple of integers, from `gitlab-runner --version`."""
    text = subprocess.run([gitlab_runner, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
    match = re.search(r"^Version:\s+v?(\d+)\.(\d+)\.(\d+)", text, re.MULTILINE)
    if match is None:
        raise SystemExit(f"{gitlab_runner} --version names no version; build it with its own Makefile or set common.VERSION:\n{text}")
    return tuple(int(part) for part in match.groups())


def section(name, coordinator_url, executor, folder, driver=None):
    """One [[runners]] section. executor: `shell`, or `custom` with `driver`, the words that come before config, prepare, run and cleanup."""
    lines = [
        "[[runners]]",
        f"  name = {_toml(name)}",
        f"  url = {_toml(coordinator_url)}",
        f"  token = {_toml(token(name))}",
        f"  executor = {_toml(executor)}",
        '  shell = "bash"',
        f"  builds_dir = {_toml(str(folder / 'builds'))}",
        f"  cache_dir = {_toml(str(folder / 'cache'))}",
    ]
    if executor == "custom":
        lines.append("  [runners.custom]")
        for stage in ("config", "prepare", "run", "cleanup"):
            lines.append(f"    {stage}_exec = {_toml(driver[0])}")
            lines.append(f"    {stage}_args = {_toml([*driver[1:], stage])}")
    return "\n".join(lines)


def token(name):
    """The authentication token of the runner of this name: the coordinator's name for its queue."""
    return f"runner00-{name}"  # the first eight letters are what jobs see of it


class Runner:
    """One `gitlab-runner run`. `name` is the first section's, where its jobs are queued."""

    def __init__(self, gitlab_runner, name, folder, sections, environment, concurrent=4):
        self.name = name
        self.token = token(name)
        self.folder = folder
        self.log_path = folder / "runner.log"
        folder.mkdir(parents=True)
        config = folder / "config.toml"
        config.write_text("\n".join([f"concurrent = {concurrent}", "check_interval = 1", *sections]) + "\n")
        with open(self.log_path, "wb") as log:
            self._process = subprocess.Popen(
                [gitlab_runner, "--debug", "run", "--config", str(config), "--working-directory", str(folder)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=folder, start_new_session=True,
            )
        self.process = processes.find(self._process.pid)

    @property
    def alive(self):
        """Is it still running?"""
        return self._process.poll() is None

    def kill(self):
        """kill -9, as the kernel does when memory runs out."""
        self._process.kill()
        self._process.wait(10)

    def terminate(self):
        """One TERM, as `systemctl stop` sends it."""
        self._process.terminate()

    def stop(self):
        """Ends it, whatever it does: a second TERM, then KILL."""
        for number, patience in ((signal.SIGTERM, 5), (signal.SIGTERM, 2), (signal.SIGKILL, 10)):
            if not self.alive:
                return
            os.kill(self._process.pid, number)
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                continue


def _toml(value):
    # Strings and lists of strings are written alike in TOML and JSON.
    return json.dumps(value)
