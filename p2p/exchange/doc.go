// Package exchange streams the blocks of objects from a holder to a receiver,
// both members of one network, over one libp2p stream a request. The protocol is
// [ProtocolID].
//
// # Vocabulary
//
// An object is a small DAG (package envelope): the manifest, whose CID is the
// object's address, leads to a file root, that to the age header and to the root
// of the payload, whose leaves are the ciphertext. An item is one object of a
// request, with the ranges of its payload that are wanted. A guard decides on
// the holder's side whether a request may be answered at all; the lease that it
// gives decides on each item, and says before each block whether the decision
// still stands. What proves the right to ask (grants, a proof of possession) is
// the request's Authority, which this package carries and does not read.
//
// # The walk
//
// CIDs are not sent. Holder and receiver walk the same DAG in the same order,
// each from the blocks themselves: manifest, file root, header, root of the
// payload, then its descendants depth first, links in order, without the
// children that no wanted range touches. The receiver therefore knows which
// CID comes next and takes nothing else. The shape of a payload follows from
// its size, so both refuse an object that is deeper, wider, longer or shorter than
// it declares, or that repeats a block.
//
// # Wire format
//
// The receiver opens a stream, sends one request and closes its side:
//
//	request  = length (4 bytes, big endian, at most 1 MiB) || CBOR
//	CBOR     = [ items: [ [address: bytes, ranges: [ [from, to], ... ], whole: bool], ... ], authority: bytes ]
//
// in the strict encoding of package statement. The holder answers each item, in
// order, and closes the stream:
//
//	item     = 0x00 || block... | 0x00 || block... || 0xFFFFFFFE | 0x01
//	block    = length (4 bytes, big endian) || bytes
//
// 0x01 refuses an item. It is the whole answer both for an object that is not
// here and for one that is not for this peer; a request that is refused as a whole
// gets one 0x01 an item. Answers with a refusal leave on a grid of time
// ([Limits.RefusalTick]). 0xFFFFFFFE ends an item of which the holder lacks a block;
// the next item follows. In place of any status or length,
//
//	0xFFFFFFFF || reason (1 byte)
//
// ends the response; reason 1 says that the lease died. Where it dies within a
// block, the stream is reset with code 0xCEB0001 instead. A request that is
// malformed, or one too many at a time, is answered with a reset. A receiver checks
// each length against what the place allows before it allocates memory.
//
// # What it costs
//
// The holder reads ahead of what it writes ([Limits.ReadAhead]); small blocks
// share writes. The receiver reads, hashes and delivers on three goroutines and
// holds at most 8 large blocks, in buffers that are used again.
//
// # Several holders
//
// [Gather] fetches one object from several holders, over requests of this same
// protocol. Who is alone is asked for everything in one request. With others, each is
// asked for spans of 6 leaves, in order, within a window of 24 leaves from the first
// that was not delivered; that is what may have to wait for its turn in memory. Who
// finds no span free may become the rival of a holder that is much slower, or silent
// for a second: both are asked for the rest of its span, and with the rival's first
// leaf it is the rival's. So a holder that lies, stops, lacks what it claims or says
// nothing costs a moment, and every block that came before it failed is kept. Which
// holder has which span is decided by a type of its own that knows neither network nor
// clock. A holder whose line breaks is asked again for what is left.
//
// # Blocks alone
//
// [Session] gives the blocks of one object one by one and implements boxo's
// exchange.Interface, for blockservices and DAG readers. A block is asked for by its
// place in the object: nobody can ask a holder for a CID and learn whether it is there.
//
// # Example
//
//	server := exchange.NewServer(store, guard, log, exchange.Limits{})
//	host.SetStreamHandler(exchange.ProtocolID, server.Handle)
//	...
//	req := exchange.Request{Items: []exchange.Item{{Address: address.Bytes(), Whole: true}}}
//	res, err := exchange.Fetch(ctx, host, holder, req, prove, func(b exchange.Block) error {
//		return keep(b.CID, b.Data) // verified; Data is reused afterwards
//	})
package exchange

// ProtocolID names the protocol in libp2p's negotiation.
const ProtocolID = "/cerebrum/blocks/1"
