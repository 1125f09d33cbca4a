package schematest

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Method returns the method soulbox.v1.Fake/Call with these options.
func Method(t testing.TB, service *descriptorpb.ServiceOptions, method *descriptorpb.MethodOptions) protoreflect.MethodDescriptor {
	t.Helper()
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("fake.proto"), Package: proto.String("soulbox.v1"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Message")}},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("Fake"), Options: service, Method: []*descriptorpb.MethodDescriptorProto{
			{Name: proto.String("Call"), InputType: proto.String(".soulbox.v1.Message"), OutputType: proto.String(".soulbox.v1.Message"), Options: method},
		}}},
	}, nil)
	if err != nil {
		t.Fatalf("make a method: %v", err)
	}
	return file.Services().Get(0).Methods().Get(0)
}
