package cgroups

import (
	"context"
	"errors"
	"fmt"
	"path"
)

// ThawKilled thaws the boxes that a daemon which was killed left frozen, so that what has been killed in them dies: on cgroup
// v1 a frozen process does not, on v2 it does. It makes no group: where none was left there is nothing to do.
func ThawKilled(ctx context.Context, o Options) error {
	o = o.withDefaults()
	f, err := o.host.facts(o.Root)
	if err != nil {
		return fmt.Errorf("thaw what was killed: %w", err)
	}
	freezer, ok := f.V1["freezer"]
	if !ok || !o.host.exists(path.Join(freezer.Dir, parentGroup, o.Name)) {
		return nil
	}
	tree, err := Open(o)
	if err != nil {
		return err
	}
	ids, err := tree.Boxes()
	errs := []error{err}
	for _, id := range ids {
		box, err := tree.LoadBox(id)
		if err == nil {
			err = box.User().Thaw(ctx)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
