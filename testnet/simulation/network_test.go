package simulation

import (
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/marcopolo/simnet"
)

// weather is a network between addresses, with latency and loss.
type weather struct {
	net  *simnet.Simnet
	seed uint64
	loss float64 // part of the packets that get lost

	mu   sync.Mutex
	rng  *rand.Rand        // owned by mu
	cut  map[place]bool    // owned by mu; machines whose packets all get lost
	lags map[place]float64 // owned by mu; milliseconds from a machine to the middle of the network
}

// place is a machine's IPv4 address.
type place [4]byte

func placeOf(ip net.IP) place { return place(ip.To4()) }

// newWeather starts a network; the caller closes it once all sockets are.
func newWeather(seed uint64, loss float64) *weather {
	w := &weather{seed: seed, loss: loss, rng: rand.New(rand.NewPCG(seed, 1)), cut: map[place]bool{}, lags: map[place]float64{}}
	w.net = &simnet.Simnet{LatencyFunc: w.latency}
	w.net.Start()
	return w
}

// latency is what the ends of a packet's way have, 5 to 40 ms each, and a tenth
// more or less by chance.
func (w *weather) latency(p *simnet.Packet) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	ms := 0.0
	for _, a := range []net.Addr{p.From, p.To} {
		at := placeOf(a.(*net.UDPAddr).IP)
		if w.lags[at] == 0 {
			w.lags[at] = 5 + 35*w.rng.Float64()
		}
		ms += w.lags[at]
	}
	return time.Duration(ms * (0.9 + 0.2*w.rng.Float64()) * float64(time.Millisecond))
}

// lost draws whether a packet from one machine to another arrives.
func (w *weather) lost(from, to place) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut[from] || w.cut[to] || w.rng.Float64() < w.loss
}

// cutOff takes a machine off the network, or back on.
func (w *weather) cutOff(ip net.IP, off bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[placeOf(ip)] = off
}

// machine is what one node sees of the network. It implements host.Packets.
type machine struct {
	w  *weather
	ip net.IP

	mu   sync.Mutex
	next int // owned by mu; the last port that was given to who asked for any
}

func (m *machine) ListenUDP(_ string, local *net.UDPAddr) (net.PacketConn, error) {
	at := &net.UDPAddr{IP: m.ip, Port: local.Port}
	if at.Port == 0 {
		m.mu.Lock()
		m.next++
		at.Port = 20000 + m.next
		m.mu.Unlock()
	}
	const speed = 100 * simnet.Mibps
	link := simnet.NodeBiDiLinkSettings{Uplink: simnet.LinkSettings{BitsPerSecond: speed}, Downlink: simnet.LinkSettings{BitsPerSecond: speed}}
	return &lossy{m.w.net.NewEndpoint(at, link), m}, nil
}

func (m *machine) PreferredSourceIPForDestination(*net.UDPAddr) (net.IP, error) { return m.ip, nil }

// lossy is a socket on such a network.
type lossy struct {
	*simnet.SimConn
	on *machine
}

func (l *lossy) WriteTo(p []byte, to net.Addr) (int, error) {
	if l.on.w.lost(placeOf(l.on.ip), placeOf(to.(*net.UDPAddr).IP)) {
		return len(p), nil
	}
	return l.SimConn.WriteTo(p, to)
}
