//go:build deps

package main

import (
	_ "c2sp.org/CCTV/age"
	_ "filippo.io/age"
	_ "github.com/cedar-policy/cedar-go"
	_ "github.com/cedar-policy/cedar-go/x/exp/schema"
	_ "github.com/cedar-policy/cedar-go/x/exp/schema/validate"
	_ "github.com/cloudflare/circl/group"
	_ "github.com/cloudflare/circl/math/polynomial"
	_ "github.com/cloudflare/circl/secretsharing"
	_ "github.com/cockroachdb/pebble/v2"
	_ "github.com/dustin/go-humanize"
	_ "github.com/fxamacker/cbor/v2"
	_ "github.com/ipfs/boxo/blockservice"
	_ "github.com/ipfs/boxo/ipld/merkledag"
	_ "github.com/ipfs/boxo/ipld/unixfs/importer/balanced"
	_ "github.com/ipfs/boxo/ipld/unixfs/io"
	_ "github.com/ipfs/boxo/verifcid"
	_ "github.com/ipfs/go-ds-flatfs"
	_ "github.com/ipld/go-car/v2"
	_ "github.com/ipld/go-car/v2/blockstore"
	_ "github.com/libp2p/go-libp2p"
	_ "github.com/libp2p/go-libp2p-kad-dht"
	_ "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	_ "github.com/libp2p/go-libp2p/p2p/transport/testsuite"
	_ "github.com/pelletier/go-toml/v2"
	_ "github.com/rogpeppe/go-internal/testscript"
	_ "github.com/spf13/cobra"
	_ "golang.org/x/term"
)
