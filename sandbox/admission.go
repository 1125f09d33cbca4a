package sandbox

// Place is a place in the queue.
type Place struct{}
