// Package policy decides whether the rules of a network allow a request. It is
// the second of two gates: a capability must authorise the request, and the
// policy must allow it. A policy can only take away.
//
// # Vocabulary
//
// A [Bundle] is a set of Cedar policies (docs.cedarpolicy.com) with the schema
// that they are checked against and the entities that they speak of: roles,
// organisations, collections, and who belongs to them. An [Engine] is a bundle
// that was checked and compiled. A [Request] is one principal asking for one
// action on one object; a [Decision] says yes or no, which policies determined
// it, and under which bundle, for the audit log.
//
// Principals are User, Agent, Service or Enclave; objects are Dataset, Model or
// Collection; their Cedar ids are the lower-case hexadecimal of their
// [statement.ID]. Role and Org are what principals may be in. The actions are
// carry, read, infer, deploy, delegate, revoke, audit and grant. A policy finds
// in its context:
//
//	purpose, reason, region  String    as the request states them
//	now                      datetime  the time signed in the request, in whole seconds
//	classification           Long      of the object, from its dealing
//	attested                 Bool      the answer goes to a key inside verified evidence
//	consented                Bool      the owner consented to this use
//	owner                    String    the id of the object's owner
//	byOwner                  Bool      the principal is the owner
//	batch                    Long      objects asked for in this request
//	used                     Long      keys that THIS validator released to the principal in the last 24 hours
//	labels                   Set       of the object, from its dealing, each a String "key=value"
//
// A principal is in Role::"name" for every role that it has at the time of the
// request ([RoleSet]), and an object in Collection::"id" for every collection
// that it is asked for in. What a bundle's entities say of the same principal,
// object, role or collection (parents and attributes) holds as well.
//
// # Rules
//
// Allowed is only what Cedar allows, in a request that the schema accepts,
// without an error in any policy. The last matters: Cedar skips a policy that
// errs, so that a forbid which overflows or reads an attribute that is not
// there forbids nothing. Every policy is validated strictly when the bundle is
// loaded, which catches most of such errors before they happen.
//
// Equal requests get equal decisions on every validator: nothing here reads a
// clock, a file or the network, and lists are sorted. One fact is not equal:
// used is each validator's own count. A key needs t of n shares, so that a
// ceiling of u in a policy stops a principal only when n-t+1 validators have
// counted u; one that spreads its requests may get up to u*n/t keys.
//
// A decision is settled by a permit, a forbid or an error. Where nothing permits
// and nothing forbids, the answer is no, but a person may be asked: a bundle
// that says nothing of grants leaves them to the validators' operators.
//
// # Wire format
//
// A bundle is signed as a statement of the [KindBundle] kind, whose body is the
// array
//
//	[ version: uint, previous: bytes .size 32, record: bytes .size 32, engine: text,
//	  schema: text, policies: [ [id: text, text: text], ... ], entities: bytes, not before: int ]
//
// Bundles form a chain by previous, the head of the bundle before; version 0, the
// bundle that the founding of the network names ([Builtin], unless another was
// chosen), begins it. [History] keeps the chain; record is the committee record
// whose validators signed.
//
// People write a bundle as a folder of files, which [Load] reads; package bundles
// holds three to start from. A role is given and taken away by an [Assignment]:
//
//	[ network, record, identity: bytes .size 32, role: text, granted: bool,
//	  takes: bytes, not before: int, expires: int, nonce: bytes .size 16 ]
//
// # Example
//
//	engine, err := policy.NewEngine(policy.Builtin())
//	d := engine.Decide(policy.Request{
//		Principal: reader, PrincipalKind: "User",
//		Action: "read", Object: object, Owner: owner,
//		Purpose: "research", Consented: true, Now: signedAt,
//	})
//	if !d.Allow { ... }   // d.Policies, d.Bundle go into the audit entry
package policy

import (
	"strings"
	"time"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// KindBundle is the kind of a statement whose body is a [Bundle].
const KindBundle statement.Kind = "policy"

// EngineName names the language and the version of its evaluator. Bundles carry
// it: validators with different evaluators must not judge under one bundle.
const EngineName = "cedar-go/1.9"

// Limits on a bundle. The parser of policies recurses, so that the length of a
// text is what bounds its stack.
const (
	MaxBundleBytes = 960 << 10 // leaves room for signatures in a statement
	MaxPolicies    = 1024
	MaxPolicyBytes = 4 << 10
	MaxSchemaBytes = 64 << 10
	maxIDBytes     = 64
)

// Bundle is one version of a network's policy. It is data: nothing about it is
// checked until [NewEngine] accepts it, and nobody signed it unless a statement
// says so.
type Bundle struct {
	_         struct{}     `cbor:",toarray"`
	Version   uint64       // one more than the version before; [Builtin] is 0
	Previous  statement.ID // head of the version before, zero for [Builtin]
	Record    statement.ID // committee record whose validators sign it, zero for version 0
	Engine    string       // [EngineName]
	Schema    string       // in Cedar's schema language
	Policies  []Policy     // in any order; ids are unique
	Entities  []byte       // JSON array of Cedar entities; empty for none
	NotBefore int64        // Unix seconds from which validators judge by it
}

// Policy is one Cedar policy under the id that decisions name it by.
type Policy struct {
	_    struct{} `cbor:",toarray"`
	ID   string   // 1 to 64 letters, digits, '-', '_', '.' or '/'
	Text string   // exactly one permit or forbid
}

// Head is the id of the bundle's statement, which signatures do not change. It
// stands in every audit entry and in committee records.
func (b *Bundle) Head() statement.ID {
	s, err := statement.New(KindBundle, b)
	if err != nil {
		panic("policy: a bundle does not encode: " + err.Error()) // a struct of plain fields
	}
	return s.ID()
}

// Request is what a validator or a holder of blocks is asked. Ids and flags are
// facts that the caller has verified; Purpose, Reason and Region are what the
// request states.
type Request struct {
	Principal     statement.ID
	PrincipalKind string // "User", "Agent", "Service" or "Enclave"
	Action        string // "carry", "read", "infer", "deploy", "delegate", "revoke", "audit" or "grant"
	Object        statement.ID
	ObjectKind    string // "Dataset" (also where empty), "Model" or "Collection"
	Owner         statement.ID

	Purpose, Reason, Region string

	Roles  []string       // that the principal has at Now, see [RoleSet.Roles]
	Scopes []statement.ID // collections that the object is asked for in
	Labels []string       // of the object, each "key=value"

	Batch int64 // objects asked for in the request
	Used  int64 // keys that this validator released to the principal in the last 24 hours

	Classification int64
	Attested       bool      // the answer is sealed to a key inside verified evidence
	Consented      bool      // the owner consented to this use
	Now            time.Time // the time signed in the request; fractions of a second are dropped
}

// Decision is the answer to a [Request]. The zero value denies.
type Decision struct {
	Allow bool
	// Settled says that the policies have an answer: some permit and none
	// forbids, some forbid, or something failed. If it is false, nothing permits
	// and nothing forbids; then a person may decide.
	Settled bool
	// Policies are the ids that determined the decision, sorted: those that
	// permit, or those that forbid, or, where the decision is no because some
	// failed, those that failed. None where nothing permits.
	Policies []string
	// Errors counts policies that failed, or is 1 where the request itself was
	// refused by the schema.
	Errors int
	Bundle statement.ID // head of the bundle that was in force
}

// Name names the policies that decided, by their ids alone.
func (d Decision) Name() string {
	if len(d.Policies) == 0 {
		return "no policy"
	}
	return "policy " + strings.Join(d.Policies, ", ")
}
