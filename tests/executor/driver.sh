#!/usr/bin/env bash
# A driver for the custom executor, as somebody may have one, that writes down how it was called and misbehaves where a
# test wants it to.
#
#   driver.sh config | prepare | cleanup | run SCRIPT STAGE
#
# In $TEST_HOST/driver: `calls` has a line for each call, `env.CALL` its environment. A file `do.CALL` there is what it
# does (for `run`, before the script); its lines find the arguments in $@.
folder=$TEST_HOST/driver
mkdir -p "$folder"
call=$1
env -0 >"$folder/env.$call.part" && mv "$folder/env.$call.part" "$folder/env.$call"
pwd >"$folder/pwd.$call"
echo "$*" >>"$folder/calls"
if [ -e "$folder/do.$call" ]; then
    . "$folder/do.$call"
fi
if [ "$call" = run ]; then
    exec bash "$2"
fi
