// SoulBox's API with Connect for Node; `npm run generate` makes gen/ from the protobuf files.
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { ExecutionService, Verdict } from "./gen/soulbox/v1/execution_pb.js";
import { SandboxService, SandboxState } from "./gen/soulbox/v1/sandbox_pb.js";

// Streams that go both ways need HTTP/2, here without TLS.
const transport = createConnectTransport({
  baseUrl: process.env.SOULBOX_URL,
  httpVersion: "2",
  interceptors: [
    (next) => (request) => {
      request.header.set("Authorization", `Bearer ${process.env.SOULBOX_API_KEY}`);
      return next(request);
    },
  ],
});

// A program, from its start to its end.
const executions = createClient(ExecutionService, transport);
const result = await executions.executeCode({ language: "python", code: "print(6 * 7)" });
console.log(`the program printed ${result.stdout.trim()}, verdict ${Verdict[result.verdict]}`);

// A sandbox lives until it is deleted, or for its timeout.
const sandboxes = createClient(SandboxService, transport);
const { id } = await sandboxes.createSandbox({ timeout: { seconds: 60n } });
try {
  await sandboxes.writeFile(
    (async function* () {
      yield { message: { case: "open", value: { id, path: "note.txt" } } };
      yield { message: { case: "data", value: new TextEncoder().encode("hello") } };
    })(),
  );
  let content = "";
  const decoder = new TextDecoder();
  for await (const { message } of sandboxes.readFile({ id, path: "note.txt" })) {
    if (message.case === "data") content += decoder.decode(message.value, { stream: true });
  }
  console.log(`note.txt holds ${content}`);

  // A command, whose output comes as it is printed.
  const shell = "for i in 1 2 3; do echo line $i; sleep 0.1; done; exit 3";
  const events = sandboxes.streamExec(
    (async function* () {
      yield { message: { case: "start", value: { id, shell } } };
    })(),
  );
  for await (const { event } of events) {
    if (event.case === "stdout") process.stdout.write(event.value);
    if (event.case === "exited") console.log(`the command's exit code is ${event.value.exitCode}`);
  }
} finally {
  const { state } = await sandboxes.deleteSandbox({ id });
  console.log(`the sandbox is gone: ${SandboxState[state]}`);
}
