// Package metrics shows a daemon's figures to Prometheus.
//
// Its main type is [Metrics]: an engine tells it of executions that are done ([sandbox.Observer]), and it asks engine and
// store for the rest when it is read. It is the only package that knows Prometheus. Labels have few values, all of them
// the daemon's own: languages, verdicts, versions.
//
// Every series is described in docs/metrics.md; a test holds the two together.
package metrics
