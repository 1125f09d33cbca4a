// Package client is the daemon's side of the agent's channel.
//
// A [Client] speaks to one agent over the unix sockets in the sandbox's channel directory, a [Slot] to one slot of it.
//
// What comes back is hostile input: a sandbox that took over its agent can answer anything. Messages are bounded,
// numbers are clamped to what they can mean, waiting ends with the context, and no path of the channel directory is
// followed through a link. Nothing here decides what an answer means.
package client
