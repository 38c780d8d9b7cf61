package daemon

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
)

// States of a published record.
const (
	stateEffective = "effective" // every node that is fresh knows it, or will within its freshness
	stateWaiting   = "waiting"   // durable here; the outbox goes on
	stateAdopted   = "adopted"
	stateChecked   = "checked" // nothing was changed
)

func readContact(text string) (*identity.Identity, error) {
	id, err := identity.ParseContact(text)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, "a contact is what `cerebrum id show` prints; copy it whole", "that is no contact")
	}
	return id, nil
}

// Enrol implements api.Service.
func (n *Node) Enrol(_ context.Context, r api.EnrolRequest) (*api.Enrolled, error) {
	of, err := readContact(r.Contact)
	if err != nil {
		return nil, err
	}
	n.syncIdentities()
	p, err := n.home.Enrol(r.Name, of)
	if err != nil {
		return nil, err
	}
	recipient, err := p.Recipient()
	if err != nil {
		return nil, err
	}
	e, err := identity.Enrol(of.ID(), p.Device, recipient)
	if err != nil {
		return nil, err
	}
	return &api.Enrolled{Identity: of.ID().String(), Name: p.Name, Device: fingerprint(p.Device.Public()), Request: e.Text()}, nil
}

// AdoptIdentity implements api.Service. What the logs have told already is no news.
func (n *Node) AdoptIdentity(ctx context.Context, r api.AdoptIdentityRequest) (*api.Published, error) {
	id, err := readContact(r.Contact)
	if err != nil {
		return nil, err
	}
	n.syncIdentities()
	p := n.principalOf(id.ID())
	if p == nil {
		return nil, fault.New(fault.Failed, "ask with `cerebrum id enrol` first", "this home has not asked to be a device of the identity %s", id.ID())
	}
	if p.Pending() {
		if _, ok := id.DeviceIndex(p.Device.Public()); !ok {
			return nil, fault.New(fault.Failed, "run `cerebrum id add-device` on another device, and bring the contact that it prints", "the contact does not list this device, %s", fingerprint(p.Device.Public()))
		}
	}
	if err := n.record(ctx, event.Identity, event.OK, event.Act{Actor: id.ID(), Detail: "adopted"}); err != nil {
		return nil, err
	}
	if err := n.home.UpdateIdentity(p.Name, id); err != nil {
		return nil, err
	}
	if p, err = n.actor(p.Name); err != nil {
		return nil, err
	}
	return n.published(p.Identity, p.Name, p.Device.Public(), stateAdopted), nil
}

// published describes an identity as it stands.
func (n *Node) published(id *identity.Identity, name string, device statement.PublicKey, state string) *api.Published {
	return &api.Published{
		Identity: id.ID().String(), Name: name, Device: fingerprint(device), State: state, Contact: id.Contact(),
	}
}

// Devices implements api.Service.
func (n *Node) Devices(_ context.Context, r api.DevicesRequest) (*api.Devices, error) {
	p, err := n.principal(r.As)
	if err != nil {
		return nil, err
	}
	out := &api.Devices{Identity: p.Identity.ID().String(), Name: p.Name, Recoveries: int(p.Identity.Count()), Devices: []api.Device{}}
	for _, key := range p.Identity.Ever() {
		out.Devices = append(out.Devices, describeDevice(p, key))
	}
	if p.Pending() {
		out.Devices = append(out.Devices, api.Device{Device: fingerprint(p.Device.Public()), This: true, State: "asking"})
	}
	return out, nil
}

func describeDevice(p *home.Principal, key statement.PublicKey) api.Device {
	d := api.Device{Device: fingerprint(key), This: key == p.Device.Public(), State: "current"}
	if _, ok := p.Identity.DeviceIndex(key); !ok {
		d.State = "removed"
	}
	for _, rec := range p.Identity.Records() {
		if e := rec.Enrolled(); e != nil && e.Device == key && (d.Added == "" || rec.Count() == p.Identity.Count()) {
			d.Added, d.By = stamp(rec.Time().Unix()), fingerprint(rec.By())
		}
		if slices.Contains(rec.Removed(), key) && d.State == "removed" {
			d.Removed = stamp(rec.Time().Unix())
		}
	}
	return d
}

// upToDate asks the validators what is known of an identity, which must come
// before a record that says what stays.
func (n *Node) upToDate(ctx context.Context) error {
	if err := n.needsNetwork(); err != nil {
		return err
	}
	if err := n.tracker.Refresh(ctx); err != nil {
		return fault.Wrap(fault.Unavailable, err, "see `cerebrum status`; nothing was changed", "the identity cannot be brought up to date")
	}
	n.syncIdentities()
	return nil
}

// AddDevice implements api.Service.
func (n *Node) AddDevice(ctx context.Context, r api.AddDeviceRequest) (*api.Published, error) {
	e, err := identity.ParseEnrolment(r.Request)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, "a request is what `cerebrum id enrol` prints; copy it whole", "that is no request of a device")
	}
	if err := n.upToDate(ctx); err != nil {
		return nil, err
	}
	p, err := n.actor(r.As)
	if err != nil {
		return nil, err
	}
	if e.Identity != p.Identity.ID() {
		return nil, fault.New(fault.Failed, "name the identity with --as, or give the new device this one's contact", "the device asks for another identity than %q", p.Name)
	}
	if _, ok := p.Identity.DeviceIndex(e.Device); ok {
		return n.published(p.Identity, p.Name, e.Device, stateEffective), nil
	}
	rec, err := p.Identity.AddDevice(p.Device, e, n.now())
	if err != nil {
		return nil, err
	}
	after, err := foldIn(p.Identity, rec)
	if err != nil {
		return nil, err
	}
	if _, ok := after.DeviceIndex(e.Device); !ok {
		return nil, fault.New(fault.Failed, "have it ask again with `cerebrum id enrol`, which makes new keys", "the device %s was removed from the identity", fingerprint(e.Device))
	}
	return n.publish(ctx, p, after, e.Device, rec)
}

func foldIn(id *identity.Identity, recs ...*identity.Record) (*identity.Identity, error) {
	after, err := id.With(recs...)
	if errors.Is(err, identity.ErrFull) {
		return nil, fault.Wrap(fault.Failed, err, "recover the identity with `cerebrum id recover`: that makes room", "nothing was changed")
	}
	return after, err
}

// RemoveDevice implements api.Service: this device leaves. It cannot end another:
// a thief's device could end its owner's then.
func (n *Node) RemoveDevice(ctx context.Context, r api.RemoveDeviceRequest) (*api.Published, error) {
	if err := n.upToDate(ctx); err != nil {
		return nil, err
	}
	p, err := n.actor(r.As)
	if err != nil {
		return nil, err
	}
	self := p.Device.Public()
	if r.Device != "" {
		key, err := findDevice(p.Identity, r.Device)
		if err != nil {
			return nil, err
		}
		if key != self {
			return nil, fault.New(fault.Denied, "run this on that device, or end all others with `cerebrum id recover`", "a device removes itself only, and this one is %s", fingerprint(self))
		}
	}
	if len(p.Identity.Devices()) == 1 {
		return nil, fault.New(fault.Failed, "enrol another device first, or recover the identity elsewhere with its recovery secret", "this is the last device of %q", p.Name)
	}
	rec, err := p.Identity.RemoveSelf(p.Device, n.now())
	if err != nil {
		return nil, err
	}
	after, err := foldIn(p.Identity, rec)
	if err != nil {
		return nil, err
	}
	return n.publish(ctx, p, after, self, rec)
}

// publish has records of one identity appended by the validators. They are in the
// outbox before the first of them leaves; a denial takes them out again, and then
// nothing was changed. When it returns without an error the home has them too.
func (n *Node) publish(ctx context.Context, p *home.Principal, after *identity.Identity, about statement.PublicKey, recs ...*identity.Record) (*api.Published, error) {
	entries := make([]revocation.Entry, len(recs))
	for i, rec := range recs {
		var err error
		if entries[i], err = revocation.IdentityEntry(rec, after); err != nil {
			return nil, err
		}
	}
	id := recs[0].ID()
	if err := n.record(ctx, event.Identity, event.OK, event.Act{Actor: p.Identity.ID(), Grant: id[:], Detail: string(recs[0].Kind())}); err != nil {
		return nil, err
	}
	if err := n.outbox.keepRecords(recs, entries); err != nil {
		return nil, err
	}
	out := n.published(after, p.Name, about, stateEffective)
	out.Record, out.Of, out.Needed = id.String(), len(n.trust.Current().Validators), n.trust.Current().Numbers.Effective()
	out.Acks = out.Of
	for i, rec := range recs {
		acked, err := n.quorum.SendRecord(ctx, entries[i], rec.ID())
		out.Acks = min(out.Acks, len(acked))
		if err != nil && fault.Of(err).Exit == fault.Denied && i == 0 && len(acked) == 0 {
			return nil, errors.Join(err, n.outbox.dropRecords(recs))
		}
		if err != nil {
			out.State = stateWaiting
		}
		if err := n.outbox.acked(rec.ID(), acked); err != nil {
			return nil, err
		}
	}
	n.outbox.poke()
	if err := n.set.Take(entries); err != nil { // this holder knows it at once
		return nil, err
	}
	if err := n.home.UpdateIdentity(p.Name, after); err != nil {
		return nil, err
	}
	return out, nil
}

// Recover implements api.Service.
func (n *Node) Recover(ctx context.Context, r api.RecoverRequest) (*api.Published, error) {
	secret, err := home.ParseRecovery(r.Secret)
	if err != nil {
		return nil, err
	}
	next, err := parseKey(r.Next)
	if err != nil {
		return nil, err
	}
	if err := n.upToDate(ctx); err != nil {
		return nil, err
	}
	old, err := n.toRecover(r)
	if err != nil {
		return nil, err
	}
	if old.Spent(secret.Public()) {
		return nil, fault.New(fault.Denied, "use the one that the last recovery has shown", "this recovery secret was used already")
	}
	if secret.Public().Digest() != old.NextRecovery() {
		return nil, fault.New(fault.Denied, "look for the one that was shown when the identity was made, or last recovered", "this is not the recovery secret of the identity %s", old.ID())
	}
	kept, err := keptEnrolments(old, r.Keep)
	if err != nil {
		return nil, err
	}
	if r.Check {
		return n.published(old, r.Name, statement.PublicKey{}, stateChecked), nil
	}
	p, fresh, err := n.recoveringDevice(r.Name, old)
	if err != nil {
		return nil, err
	}
	out, err := n.recoverAs(ctx, p, old, secret, next, kept)
	if err != nil && fresh {
		err = errors.Join(err, n.home.Forget(p.Name))
	}
	return out, err
}

// toRecover is the identity that is recovered, with all that is known of it.
func (n *Node) toRecover(r api.RecoverRequest) (*identity.Identity, error) {
	if r.Contact == "" {
		p, err := n.home.Principal(r.Name)
		if err != nil {
			return nil, err
		}
		return p.Identity, nil
	}
	id, err := readContact(r.Contact)
	if err != nil {
		return nil, err
	}
	if p := n.principalOf(id.ID()); p != nil {
		if r.Name != "" && r.Name != p.Name {
			return nil, fault.New(fault.Failed, "leave --name out", "this home has that identity already, as %q", p.Name)
		}
		if id, err = id.With(p.Identity.Records()...); err != nil {
			return nil, err
		}
	} else if r.Name == "" {
		return nil, fault.New(fault.Usage, "choose one with --name", "the identity needs a name in this home")
	} else if _, err := n.home.Principal(r.Name); err == nil {
		return nil, fault.New(fault.Usage, "choose another --name", "this home has another identity named %q", r.Name)
	}
	return id.With(n.set.IdentityRecords(id.ID())...)
}

// recoveringDevice is the device that goes on: this home's, where it has one that
// was not removed, otherwise a new one. fresh says that the home had no keys for it.
func (n *Node) recoveringDevice(name string, old *identity.Identity) (p *home.Principal, fresh bool, err error) {
	if p := n.principalOf(old.ID()); p != nil && (p.Current || p.Pending()) {
		return p, false, nil
	}
	fresh = n.principalOf(old.ID()) == nil
	p, err = n.home.Enrol(name, old)
	return p, fresh, err
}

func (n *Node) recoverAs(ctx context.Context, p *home.Principal, old *identity.Identity, secret statement.PrivateKey, next statement.PublicKey, kept []*identity.Enrolment) (*api.Published, error) {
	recipient, err := p.Recipient()
	if err != nil {
		return nil, err
	}
	rec, err := identity.Recover(old, secret, []statement.PrivateKey{p.Device}, []string{recipient}, next)
	if err != nil {
		return nil, fault.Wrap(fault.Failed, err, "nothing was changed", "the recovery")
	}
	after, err := foldIn(old, rec)
	if err != nil {
		return nil, err
	}
	recs := []*identity.Record{rec}
	for _, e := range kept {
		if e.Device == p.Device.Public() {
			continue
		}
		add, err := after.AddDevice(p.Device, e, n.now())
		if err != nil {
			return nil, err
		}
		if after, err = foldIn(after, add); err != nil {
			return nil, err
		}
		recs = append(recs, add)
	}
	return n.publish(ctx, p, after, p.Device.Public(), recs...)
}

// keptEnrolments finds the requests of devices that stay after a recovery. Only
// the recovering device signs the recovery; the others are taken in again by what
// they asked with, so that a device of the inception has to enrol anew.
func keptEnrolments(old *identity.Identity, keep []string) (out []*identity.Enrolment, err error) {
	for _, text := range keep {
		key, err := findDevice(old, text)
		if err != nil {
			return nil, err
		}
		found := len(out)
		for _, rec := range old.Records() {
			if e := rec.Enrolled(); e != nil && e.Device == key && len(out) == found {
				out = append(out, e)
			}
		}
		if len(out) == found {
			return nil, fault.New(fault.Failed, "leave it out of --keep, and have it ask with `cerebrum id enrol` afterwards", "the device %s was never enrolled by a request", fingerprint(key))
		}
	}
	return out, nil
}

func parseKey(text string) (key statement.PublicKey, err error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(key) {
		return key, fault.New(fault.Usage, "", "the next recovery key is no key")
	}
	return statement.PublicKey(raw), nil
}
