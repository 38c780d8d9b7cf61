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
//	go test ./testnet/simulation -run Life -nodes 300 -seed 7 -v    one life, larger
//	go test ./testnet/simulation -run Hops -nodes 1000 -v -timeout 0    lookups in a DHT that grows to 1,000 members
//
// A life is everything: join, find, fetch, revoke, under loss, latency and churn.
//
// What a large network costs is its connections, which grow somewhat faster than its
// members: each is about 10 ms of work, two ends of 70 KB with their goroutines, and a
// ping every 15 simulated seconds. Lookups among 500 members took twelve minutes of a
// processor and 9 GB, with GOGC=200; a life of 100 nodes two minutes and 2.4 GB.
//
// The package has tests only.
package simulation
