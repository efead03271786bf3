"""Checks an edited config.toml with Python's own TOML reader: only our keys of one runner may differ.

Arguments: the old file, the new file, the number of the runner, from 1.
"""

import sys
import tomllib

STAGES = ("config", "prepare", "run", "cleanup")
FOLDERS = ("builds_dir", "cache_dir")


def read(path):
    with open(path, "rb") as file:
        return tomllib.load(file)


def without_ours(runner):
    custom = {key: value for key, value in runner.get("custom", {}).items() if key not in OURS}
    rest = {key: value for key, value in runner.items() if key not in ("executor", "custom", *FOLDERS)}
    return {**rest, "custom": custom}


OURS = {f"{stage}_{part}" for stage in STAGES for part in ("exec", "args")}

old, new = read(sys.argv[1]), read(sys.argv[2])
index = int(sys.argv[3]) - 1
before, after = old["runners"][index], new["runners"][index]
good = (
    after["executor"] == "custom"
    and all(after["custom"][f"{stage}_args"] == ["executor", stage] for stage in STAGES)
    and all(after[key] == before.get(key, after[key]) for key in FOLDERS)
    and without_ours(before) == without_ours(after)
)
old["runners"][index] = new["runners"][index] = None
sys.exit(0 if good and old == new else 1)
