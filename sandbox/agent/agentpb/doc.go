// Package agentpb holds the messages and the service that daemon and agent speak, generated from sandbox/agent/proto.
//
// It never holds logic. Regenerate with `buf generate` in sandbox/agent.
package agentpb
