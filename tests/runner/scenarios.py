"""The register of scenarios, and how they are run and reported."""

import time
import traceback
from dataclasses import dataclass, field
from typing import Callable

from world import Failed, World

SCENARIOS = {}


@dataclass(frozen=True)
class Scenario:
    """A promise, tried with a real runner."""

    name: str
    about: str
    play: Callable
    needs_lock: bool = True
    store: str | None = None  # only on this store
    settings: dict = field(default_factory=dict)  # keys of pipeline-lock's file


def scenario(name, *, needs_lock=True, store=None, settings=None):
    """Registers a function of a World. Its doc comment's first line is what the scenario is about."""
    def register(play):
        about = play.__doc__.strip().splitlines()[0]
        SCENARIOS[name] = Scenario(name, about, play, needs_lock, store, settings or {})
        return play
    return register


def why_not(candidate, options):
    """Why this scenario can't be run with these options, or None."""
    if candidate.needs_lock and options.pipeline_lock is None:
        return "needs --pipeline-lock"
    if candidate.store not in (None, options.store):
        return f"needs --store {candidate.store}"
    return None


def run_one(candidate, options):
    """Plays it once and prints its line; True when it passed."""
    start = time.monotonic()
    world = None
    try:
        with World(options, candidate.name, candidate.settings) as world:
            candidate.play(world)
            if candidate.needs_lock:
                world.expect_nothing_left()
        verdict, reason = "PASS", candidate.about
    except (Failed, TimeoutError) as failure:
        verdict, reason = "FAIL", str(failure)
    except Exception:  # a mistake in a scenario must not hide the results of the others
        verdict, reason = "FAIL", "the scenario itself broke:\n" + traceback.format_exc()
    print(f"{verdict} {candidate.name} ({time.monotonic() - start:.1f} s): {reason}", flush=True)
    if world is not None:
        for note in world.notes:
            print(f"     {note}", flush=True)
        if verdict == "FAIL" or options.keep:
            print(f"     logs: {world.root}", flush=True)
    return verdict == "PASS"
