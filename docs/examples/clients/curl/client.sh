#!/bin/bash
# SoulBox's plain HTTP API with curl and jq.
set -euo pipefail
: "${SOULBOX_URL:?}" "${SOULBOX_API_KEY:?}"

# call PATH [CURL'S ARGUMENTS...]
call() {
  local path=$1; shift
  curl --silent --show-error --fail-with-body --header "Authorization: Bearer $SOULBOX_API_KEY" "$SOULBOX_URL/v1$path" "$@"
}

# A program, from its start to its end.
call /executions --data '{"language": "python", "code": "print(6 * 7)"}' |
  jq --raw-output '"the program printed \(.stdout | rtrimstr("\n")), verdict \(.verdict)"'

# A program whose output comes as it is printed: one event a line.
call /executions:stream --no-buffer --data '{"language": "python", "code": "for i in range(3): print(\"step\", i)"}' |
  jq --raw-output --join-output --unbuffered '.stdout.text // empty'

# A sandbox lives until it is deleted, or for its timeout.
id=$(call /sandboxes --data '{"timeout": "60s"}' | jq --raw-output .id)
trap 'call "/sandboxes/$id" --request DELETE | jq --raw-output "\"the sandbox is gone: \(.state)\""' EXIT

# A file's content is the body, as it is.
printf 'hello' | call "/sandboxes/$id/files?path=note.txt" --upload-file - >/dev/null
echo "note.txt holds $(call "/sandboxes/$id/files?path=note.txt")"

# A command answers when it has ended; over Connect and gRPC its output can be followed.
call "/sandboxes/$id:exec" --data '{"shell": "wc -c note.txt; exit 3"}' |
  jq --raw-output '"the command printed \(.stdout | rtrimstr("\n")), exit code \(.exitCode)"'
