package library

import "errors"

// Errors that callers tell apart. Their texts, and what wraps them, can be shown to whoever asked.
var (
	ErrNotFound = errors.New("no such image")
	ErrInUse    = errors.New("the image is in use")
	// ErrContent means that what came is not what its digest says, or no image at all.
	ErrContent = errors.New("the content is refused")
	// ErrName means that a name cannot be one.
	ErrName = errors.New("no name of an image")
	// ErrRegistry means that a registry refused or could not be reached.
	ErrRegistry = errors.New("the registry did not answer as it should")
)
