// Package simulation runs many whole nodes in one process, on a simulated network
// and a simulated clock.
//
// Homes, stores, committee, admission, DHT, exchange and revocation are those
// that run anywhere; what is simulated is the datagrams of QUIC, with latency and
// loss (github.com/marcopolo/simnet), and time (testing/synctest): ten minutes
// of the network pass as fast as the machine can compute them. What happens is
// drawn from a seed, which a failure names:
//
//	go test ./testnet/simulation                          100 nodes, one seed
//	go test ./testnet/simulation -nodes 300 -seed 7       one seed, larger
//	go test ./testnet/simulation -run Hops -nodes 1000    lookups in a DHT of up to 1,000 members
//
// The package has tests only.
package simulation
