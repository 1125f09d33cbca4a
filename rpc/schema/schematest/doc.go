// Package schematest makes descriptors of methods that soulbox.v1 does not have, for tests.
package schematest
