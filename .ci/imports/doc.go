// Package imports holds the rule on which packages may import which; its test is the rule's only user.
//
// Imports point down: cmd → rpc → sandbox → {images, cgroups, seccomp}. Only cmd knows store and systemd, the packages
// at the bottom never import each other, and what runs inside sandboxes knows nothing but its protocol.
package imports
