#!/bin/bash
# SoulBox's gRPC API with grpcurl, which asks the daemon what its messages are, and jq.
set -euo pipefail
: "${SOULBOX_URL:?}" "${SOULBOX_API_KEY:?}"

# call SERVICE/METHOD: requests are JSON on standard input, answers on standard output.
call() {
  grpcurl -plaintext -H "Authorization: Bearer $SOULBOX_API_KEY" -d @ "${SOULBOX_URL#http://}" "soulbox.v1.$1"
}

# A program, from its start to its end. grpcurl leaves out fields that are zero or empty.
call ExecutionService/ExecuteCode <<<'{"language": "python", "code": "print(6 * 7)"}' |
  jq --raw-output '"the program printed \(.stdout | rtrimstr("\n")), verdict \(.verdict)"'

# A sandbox lives until it is deleted, or for its timeout.
id=$(call SandboxService/CreateSandbox <<<'{"timeout": "60s"}' | jq --raw-output .id)
trap 'call SandboxService/DeleteSandbox <<<"{\"id\": \"$id\"}" | jq --raw-output "\"the sandbox is gone: \(.state)\""' EXIT

# Bytes are base64 in JSON. A stream of requests is one JSON object after another.
call SandboxService/WriteFile >/dev/null <<<"{\"open\": {\"id\": \"$id\", \"path\": \"note.txt\"}} {\"data\": \"$(printf hello | base64)\"}"
content=$(call SandboxService/ReadFile <<<"{\"id\": \"$id\", \"path\": \"note.txt\"}" | jq --raw-output '.data // empty' | base64 --decode)
echo "note.txt holds $content"

# A command, whose output comes as it is printed.
call SandboxService/StreamExec <<<"{\"start\": {\"id\": \"$id\", \"shell\": \"for i in 1 2 3; do echo line \$i; sleep 0.1; done; exit 3\"}}" |
  jq --raw-output --join-output --unbuffered '(.stdout // "" | @base64d), (.exited // empty | "the command'\''s exit code is \(.exitCode)\n")'
