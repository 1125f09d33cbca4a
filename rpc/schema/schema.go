package schema

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

// Files returns the files of the API, sorted by path.
func Files() []protoreflect.FileDescriptor {
	name := pb.File_soulbox_v1_system_proto.Package() // any of them: importing one links all in
	var all []protoreflect.FileDescriptor
	protoregistry.GlobalFiles.RangeFilesByPackage(name, func(f protoreflect.FileDescriptor) bool {
		all = append(all, f)
		return true
	})
	slices.SortFunc(all, func(a, b protoreflect.FileDescriptor) int { return cmp.Compare(a.Path(), b.Path()) })
	return all
}

// Services returns the services of the API in the order of their files.
func Services() []protoreflect.ServiceDescriptor {
	var all []protoreflect.ServiceDescriptor
	for _, f := range Files() {
		for i := range f.Services().Len() {
			all = append(all, f.Services().Get(i))
		}
	}
	return all
}

// Methods returns the methods of all services.
func Methods() []protoreflect.MethodDescriptor {
	var all []protoreflect.MethodDescriptor
	for _, s := range Services() {
		for i := range s.Methods().Len() {
			all = append(all, s.Methods().Get(i))
		}
	}
	return all
}

// Procedure returns the path under which Connect and gRPC call a method.
func Procedure(m protoreflect.MethodDescriptor) string {
	return "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
}
