package errs

import "cmp"

// helpKey is the key of the help in the metadata of an ErrorInfo.
const helpKey = "help"

// Help returns what a client can do about a reason: one sentence, or "" for a reason that says it all with its message.
// Every reason that SoulBox gives has its line here; a test holds it.
func Help(reason string) string {
	return cmp.Or(helpOfFields(reason), helpOfRequest(reason), helpOfSandbox(reason), helpOfImages(reason), helpOfState(reason))
}

// helpOfFields is [Help] for what is wrong with a message.
func helpOfFields(reason string) string {
	switch reason {
	case "INVALID_ARGUMENT", "REQUIRED", "LIMIT_OUT_OF_RANGE":
		return "Correct the field and send the request again; GET /openapi.json has what each field may hold."
	case "TOO_MANY", "TOO_LONG":
		return "Send less in this field; a large program or input fits in files."
	case "CODE_AND_FILES":
		return "Give code for a program of one file, or files and entrypoint for more, and not both."
	case "BAD_NAME", "INVALID_LABEL":
		return "Choose a name of printable text on one line."
	case "BAD_PATH", "PATH_CONFLICT":
		return "Give each file a clean relative path of its own: no leading or final slash, no . or .., none below another file."
	case "BAD_MODE":
		return "Give the permission bits as a decimal number: 420 is 0644, 493 is 0755."
	case "BAD_ARGUMENT", "BAD_VARIABLE":
		return "Leave out NUL bytes; names of variables have no = in them."
	case "BAD_REQUEST_ID":
		return "Use at most 128 printable ASCII characters, such as a UUID."
	case "NO_ENTRYPOINT", "BAD_ENTRYPOINT":
		return "Set entrypoint to the path of the file to run, one of files."
	case "MEMORY_NEVER_FITS":
		return "Ask for less memory, or let the operator raise --memory of soulbox serve."
	case "UNKNOWN_LANGUAGE":
		return "Choose a name or alias that GET /v1/languages (soulbox lang list) lists."
	case "LANGUAGE_UNCLEAR":
		return "Name one of the candidates in the message as language, or give the file a name that ends as its language's do."
	case "UNKNOWN_RUNTIME":
		return "Choose a runtime that GET /v1/system/info (soulbox info) lists, or leave the field empty."
	case "RUNTIME_UNAVAILABLE":
		return "Choose another runtime, or let the operator build soulbox with make build, which adds runsc."
	case "LANGUAGE_NOT_INSTALLED":
		return "Run the command in the message on the daemon's host; soulbox lang show has the details."
	case "INVALID_PAGE_TOKEN":
		return "List from the beginning, and send each nextPageToken with the same filters."
	}
	return ""
}

// helpOfRequest is [Help] for what is wrong with a request as such: its path, its key, its time.
func helpOfRequest(reason string) string {
	switch reason {
	case "EXECUTION_NOT_FOUND", "NOT_FOUND":
		return "Check the id, and that the key is one of the tenant that made it."
	case ReasonNoRoute, ReasonNoService:
		return "Check the path against GET /openapi.json; Connect and gRPC call /soulbox.v1.<Service>/<Method>."
	case ReasonMethodNotAllowed:
		return "Use a method that the Allow header names."
	case ReasonMediaType:
		return "Send JSON with Content-Type: application/json."
	case ReasonEncoding:
		return "Send the body as it is, or with Content-Encoding: gzip."
	case "API_KEY_MISSING", ReasonUnauthenticated:
		return "Send a key as Authorization: Bearer KEY; soulbox key create makes one on the daemon's host (clients of SoulBox's read SOULBOX_API_KEY)."
	case "API_KEY_MALFORMED", "API_KEY_CONFLICT":
		return "Send one key, as Authorization: Bearer KEY or as X-API-Key: KEY."
	case "API_KEY_UNKNOWN":
		return "Make another key with soulbox key create on the daemon's host."
	case "REQUEST_ID_REUSED", "CONFLICT":
		return "Choose a new id for a new request; one id is for sending the same request again."
	case ReasonBodyTooLarge:
		return "Send a smaller body; sending this one again does not help."
	case "QUEUE_FULL", "EXHAUSTED", "IDS_EXHAUSTED":
		return "Send the request again after Retry-After; the operator can raise --max-running and --max-queue of soulbox serve."
	case "TOO_MANY_SANDBOXES", "MEMORY_FLOOR":
		return "Delete a sandbox that is not needed any more, or try again after Retry-After."
	case "KEY_QUEUE_FULL":
		return "Send the request again after Retry-After; the operator can raise this key's max_queue, see docs/configuration.md."
	case "LANGUAGE_NOT_ALLOWED", "RUNTIME_NOT_ALLOWED":
		return "Use one that the message lists; the operator can allow more, see docs/configuration.md."
	case "KEYS_NOT_ALLOWED":
		return "Use another key: the operator gave this one rules of its own, and it could make one without."
	case "DISK_LOW":
		return "Let the operator free space below the state directory, then try again."
	}
	return ""
}

// helpOfSandbox is [Help] for what a sandbox that lives on, and what is in it, does not let happen.
func helpOfSandbox(reason string) string {
	switch reason {
	case "SANDBOX_NOT_FOUND":
		return "Check the id against ListSandboxes, and that the key is one of the tenant that made the sandbox."
	case "SANDBOX_ENDED", "SANDBOX_GONE":
		return "Make another sandbox; the record of this one says why it ended."
	case "SANDBOX_PAUSED":
		return "Resume the sandbox, then send the request again."
	case "SANDBOX_NOT_PAUSED":
		return "Nothing is to be done: the sandbox runs."
	case "SANDBOXES_OFF":
		return "Run programs with ExecuteCode, or let the operator start a daemon that keeps sandboxes."
	case "UNKNOWN_USER":
		return "Name a user of the sandbox's /etc/passwd, or leave the field empty for the sandbox's own."
	case "LIMIT_IN_USE":
		return "End processes or remove files first, or choose a higher limit."
	case "LIMIT_FIXED":
		return "Set this limit when a sandbox is made; it cannot be changed while it runs."
	case "TIMEOUT_OUT_OF_RANGE":
		return "Choose a shorter time, and prolong it with SetTimeout before it runs out."
	case "BAD_SIGNAL":
		return "Name a signal as kill does: SIGTERM, TERM or 15."
	case "PROCESS_NOT_FOUND":
		return "Check the pid against ListProcesses; only processes that were started detached or kept are found again."
	case "ALREADY_EXISTS":
		return "Remove what is there first, or choose another path."
	case "PERMISSION_DENIED":
		return "Choose a path that the user may use, or do it as another user."
	case "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED":
		return "See the message: what is there, its type, its size or its number do not allow this."
	}
	return ""
}

// helpOfImages is [Help] for what is wrong with an image, or with what is asked of one.
func helpOfImages(reason string) string {
	switch reason {
	case "UNKNOWN_IMAGE", "IMAGE_NOT_FOUND":
		return "Choose an image that GET /v1/images (soulbox image list) lists, or get it first with soulbox image pull, import or build."
	case "IMAGE_NOT_ALLOWED":
		return "Use one that the message lists; the operator can allow more, see docs/configuration.md."
	case "IMAGES_NOT_ALLOWED":
		return "Use another key: the operator gave this one rules of its own, and images are shared."
	case "IMAGE_IN_USE":
		return "End the sandboxes that stand on the image (soulbox sandbox list --filter image=NAME), then remove it."
	case "BAD_IMAGE_NAME":
		return "Choose a name such as python, tools:2 or registry.example/team/app:1."
	case "IMAGE_REFUSED":
		return "Get the image again from where it was made: what came is damaged, is no image for this host, or holds what no honest tool writes."
	case "IMAGE_TOO_LARGE":
		return "Use a smaller image, or let the operator raise images.max_bytes, images.max_entries or images.max_ratio."
	case "REGISTRY_FAILED":
		return "Check the reference, the network and the credentials of the daemon's user (docker login), then pull again: what came is kept."
	case "BUILD_UNSUPPORTED":
		return "Let the operator install mmdebstrap on the daemon's host."
	case "BUILD_FAILED":
		return "See the message for mmdebstrap's own words: the name of a package, the mirror or the network may be wrong."
	case "IMAGES_OFF":
		return "Leave the image empty: this daemon has the programs of its own host only."
	case "DISK_FULL":
		return "Let the operator free space below the state directory (soulbox image gc), then try again."
	}
	return ""
}

// helpOfState is [Help] for reasons that lie with the daemon and not with the request.
func helpOfState(reason string) string {
	switch reason {
	case "STARTING":
		return "Try again in a second; GET /readyz answers 200 when programs can be run."
	case "DRAINING", "STOPPING", "UNAVAILABLE":
		return "Try again when the daemon has been started again."
	case "NOT_READY":
		return "Let the operator run soulbox doctor on the daemon's host and read the daemon's log."
	case "UNSUPPORTED":
		return "GET /v1/system/info (soulbox info) has what this host and its runtimes can do; soulbox doctor says how to change that."
	case "CANCELED", "DEADLINE_EXCEEDED":
		return "Send the request again, with a longer deadline; with a requestId the program goes on without its client."
	case reasonInternal, "API_KEY_STORE", "DISK_UNKNOWN", "IDS_LOCK_LOST":
		return "Let the operator look in the daemon's log; an id in the message is there, too."
	}
	return ""
}
