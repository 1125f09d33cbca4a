// Package auth tells who asks.
//
// [Keys] makes, lists, revokes and checks API keys over a [KeyStore]. An [Authenticator] lets requests with a good key
// pass, with the [Identity] of the key in their context, and answers all others with 401 before anything else looks at
// them; the daemon's own user needs none on a unix socket. [EnsureLocalKey] and [ReadLocalKey] share a key with the command line of the same machine through a file.
//
// Invariants: a key is never stored, only its hash; it is never logged ([Secret] does not print itself); what is secret
// is compared in constant time; a revoked key is refused from the moment Revoke returns, as nothing is cached.
//
// The package does not limit failed attempts: a key has 160 random bits.
package auth
