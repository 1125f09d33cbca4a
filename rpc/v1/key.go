package v1

import (
	"context"

	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

// KeyService implements soulbox.v1.KeyService. A caller sees and changes the keys of its own tenant.
type KeyService struct{ s *Services }

// CreateKey makes a key and answers its secret, this once.
func (k *KeyService) CreateKey(ctx context.Context, m *pb.CreateKeyRequest) (*pb.CreateKeyResponse, error) {
	c, err := k.s.caller(ctx)
	if err != nil {
		return nil, err
	}
	made, secret, err := k.s.o.Keys.Create(ctx, c.Tenant, m.GetName())
	if err != nil {
		return nil, err
	}
	return &pb.CreateKeyResponse{Key: key(made), Secret: secret}, nil
}

// ListKeys answers all keys.
func (k *KeyService) ListKeys(ctx context.Context, _ *pb.ListKeysRequest) (*pb.ListKeysResponse, error) {
	c, err := k.s.caller(ctx)
	if err != nil {
		return nil, err
	}
	all, err := k.s.o.Keys.List(ctx, c.Tenant)
	if err != nil {
		return nil, err
	}
	out := &pb.ListKeysResponse{}
	for _, one := range all {
		out.Keys = append(out.Keys, key(one))
	}
	return out, nil
}

// RevokeKey makes a key useless.
func (k *KeyService) RevokeKey(ctx context.Context, m *pb.RevokeKeyRequest) (*pb.Key, error) {
	c, err := k.s.caller(ctx)
	if err != nil {
		return nil, err
	}
	revoked, err := k.s.o.Keys.Revoke(ctx, c.Tenant, m.GetId())
	if err != nil {
		return nil, err
	}
	return key(revoked), nil
}

func key(k Key) *pb.Key {
	return &pb.Key{Id: k.ID, Name: valid(k.Name), CreatedAt: timestamp(k.CreatedAt), RevokedAt: timestamp(k.RevokedAt)}
}
