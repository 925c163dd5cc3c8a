// Command csi is a CSI driver for a one-node test cluster. Every volume is a subvolume of one btrfs pool.
// A snapshot is a read-only btrfs snapshot: one atomic point in time, what a disk would show after a power cut, so a
// database may write while it is taken. Capacity is a qgroup limit: a full volume answers EDQUOT, growing one is instant.
// Files: main.go serves and registers with the kubelet, pool.go drives btrfs, controller.go and node.go are the CSI services.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

func main() {
	driver := flag.String("name", "btrfs.csi.minidbaas.dev", "the driver's name")
	canSnapshot := flag.Bool("snapshots", true, "whether the driver can take snapshots; much real storage cannot")
	kubelet := flag.String("kubelet-dir", "/var/lib/kubelet", "the kubelet's root directory, mounted Bidirectional")
	root := flag.String("pool", "/pool", "a directory on a mounted btrfs, where the volumes are kept")
	node := flag.String("node", os.Getenv("NODE_NAME"), "this node's name")
	flag.Parse()

	pool, err := openPool(*root)
	if err != nil {
		log.Fatal(err)
	}
	endpoint := filepath.Join(*kubelet, "plugins", *driver, "csi.sock")
	serve(endpoint, func(s *grpc.Server) {
		csi.RegisterIdentityServer(s, identity{driver: *driver})
		csi.RegisterControllerServer(s, controller{pool: pool, snapshots: *canSnapshot, cuts: &sync.Map{}})
		csi.RegisterNodeServer(s, nodeService{pool: pool, name: *node})
	})
	// What node-driver-registrar does: a socket in plugins_registry that tells the kubelet where the driver listens.
	serve(filepath.Join(*kubelet, "plugins_registry", *driver+"-reg.sock"), func(s *grpc.Server) {
		registration.RegisterRegistrationServer(s, registrar{driver: *driver, endpoint: endpoint})
	})
	select {}
}

func serve(socket string, register func(*grpc.Server)) {
	if err := os.MkdirAll(filepath.Dir(socket), 0o750); err != nil {
		log.Fatal(err)
	}
	os.Remove(socket) // left behind by the previous process
	listener, err := net.Listen("unix", socket)
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(logged))
	register(server)
	go func() { log.Fatal(server.Serve(listener)) }()
}

func logged(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	start := time.Now()
	resp, err := next(ctx, req)
	quiet := info.FullMethod == csi.Identity_Probe_FullMethodName || info.FullMethod == csi.Node_NodeGetVolumeStats_FullMethodName
	if err != nil || !quiet {
		log.Printf("%s %v in %s, error: %v", info.FullMethod, req, time.Since(start).Round(time.Millisecond), err)
	}
	return resp, err
}

type registrar struct {
	registration.UnimplementedRegistrationServer
	driver, endpoint string
}

func (r registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{Type: registration.CSIPlugin, Name: r.driver, Endpoint: r.endpoint, SupportedVersions: []string{"1.0.0"}}, nil
}

func (r registrar) NotifyRegistrationStatus(_ context.Context, s *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	if !s.PluginRegistered {
		log.Fatalf("the kubelet refused the driver: %s", s.Error)
	}
	return &registration.RegistrationStatusResponse{}, nil
}

type identity struct {
	csi.UnimplementedIdentityServer
	driver string
}

func (i identity) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: i.driver, VendorVersion: "1"}, nil
}

func (identity) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{Ready: wrapperspb.Bool(true)}, nil
}

func (identity) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{Capabilities: []*csi.PluginCapability{
		{Type: &csi.PluginCapability_Service_{Service: &csi.PluginCapability_Service{Type: csi.PluginCapability_Service_CONTROLLER_SERVICE}}},
		{Type: &csi.PluginCapability_VolumeExpansion_{VolumeExpansion: &csi.PluginCapability_VolumeExpansion{Type: csi.PluginCapability_VolumeExpansion_ONLINE}}},
	}}, nil
}
