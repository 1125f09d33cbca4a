#!/bin/sh
# Writes the Go code and the OpenAPI documents of all protobuf files, or with --check fails when what is committed is stale or buf lint complains.
# The generators are pinned by tools/go.mod (plugins) and tools/buf/go.mod (buf, whose own dependencies would move the plugins).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
check=false
case "${1:-}" in
--check) check=true ;;
'') ;;
*)
	echo "usage: $0 [--check]" >&2
	exit 2
	;;
esac

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/bin"
(cd "$here/tools" && go build -o "$tmp/bin/" tool)
(cd "$here/tools/buf" && go build -o "$tmp/bin/" tool)
PATH="$tmp/bin:$PATH"

# Every directory with a buf.gen.yaml but those of examples, relative to the top. The output directories are the `out:` lines.
dirs=$(cd "$top" && find . -name buf.gen.yaml -not -path './.*/*' -not -path './docs/*' -exec dirname {} \; | sort)
status=0
for dir in $dirs; do
	outs=$(sed -n 's/^ *out: *//p' "$top/$dir/buf.gen.yaml" | sort -u)
	(cd "$top/$dir" && buf lint) || status=1
	if ! $check; then
		for out in $outs; do
			find "$top/$dir/$out" \( -name '*.pb.go' -o -name '*.pb.gw.go' -o -name '*.connect.go' -o -name '*.openapi.json' \) -delete 2>/dev/null || true
		done
		(cd "$top/$dir" && buf generate)
		continue
	fi
	# -o puts the relative output directories below the scratch tree at the same depth as they have in the real one.
	mkdir -p "$tmp/out/$dir"
	(cd "$top/$dir" && buf generate -o "$tmp/out/$dir")
	for out in $outs; do
		want="$tmp/out/$dir/$out"
		have="$top/$dir/$out"
		(cd "$want" && find . -type f | sort) >"$tmp/want"
		(cd "$have" && find . \( -name '*.pb.go' -o -name '*.pb.gw.go' -o -name '*.connect.go' -o -name '*.openapi.json' \) | sort) >"$tmp/have"
		diff -u "$tmp/have" "$tmp/want" || status=1
		while read -r file; do
			cmp -s "$want/$file" "$have/$file" || {
				echo "stale: $have/$file" >&2
				status=1
			}
		done <"$tmp/want"
	done
done
$check && [ $status -ne 0 ] && echo "run rpc/proto/generate.sh and commit what it writes" >&2
exit $status
