#!/bin/sh
# quietly.sh NAME WHAT COMMAND...: runs the command with its output in out/log/NAME.log.
# One line when it went well; its output and the place of the log when it did not.
set -u
name=$1 what=$2
shift 2
mkdir -p out/log
log=out/log/$name.log
start=$(date +%s)
"$@" >"$log" 2>&1
status=$?
if [ $status -ne 0 ]; then
  cat "$log" >&2
  echo "$what failed with exit code $status (log: $log)" >&2
  exit 1
fi
echo "$what: done in $(($(date +%s) - start)) s"
