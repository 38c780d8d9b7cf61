package testnet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/acl/policy/bundles"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/cli"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/testnet/localnet"
)

// committee are the validators after the fourth was replaced.
var committee = []string{"validator1", "validator2", "validator3", "validator5"}

// run has a command do what only the command line does, on a member's home, and
// returns the field of its result that is asked for.
func (d *demo) run(ctx context.Context, who, field string, args ...string) (string, error) {
	p, err := d.net.Find(who)
	if err != nil {
		return "", err
	}
	var out, said bytes.Buffer
	e := &cli.Env{In: strings.NewReader(""), Out: &out, Err: &said, Now: d.e.Now}
	root := cli.Root(e)
	root.SetArgs(append([]string{"--json", "--home", p.Home}, args...))
	if err := root.ExecuteContext(ctx); err != nil {
		return "", err
	}
	result := map[string]any{}
	if err := json.Unmarshal(out.Bytes(), &result); err != nil {
		return "", err
	}
	s, _ := result[field].(string)
	return s, nil
}

// until asks again and again whether something has come to be.
func until(ctx context.Context, what string, ask func() (bool, error)) error {
	const often, patience = 50 * time.Millisecond, 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(often)
	defer tick.Stop()
	for {
		done, err := ask()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fault.New(fault.Failed, "", "in %s not yet: %s", patience, what), err)
		case <-tick.C:
		}
	}
}

// rotate replaces the fourth validator, while Ben goes on reading.
func (d *demo) rotate(ctx context.Context) (report, error) {
	if _, err := d.net.Grow("validator5", localnet.RoleValidator); err != nil {
		return report{}, err
	}
	reads, err := d.meanwhile(ctx, "node2", func() error { return d.replace(ctx) })
	if err != nil {
		return report{}, err
	}
	text := say("3 of the old and 3 of the new committee sign the record; nobody is restarted for it\nBen read it %d times meanwhile and after, each time whole", reads)
	return text.with("reads", reads), nil
}

// replace drafts the next record, has it signed and published, starts the fifth
// validator, and waits until everybody follows.
func (d *demo) replace(ctx context.Context) error {
	d.record = filepath.Join(d.tmp, "next.network")
	card, err := d.run(ctx, "validator5", "card", "validator", "card")
	if err != nil {
		return err
	}
	if _, err := d.run(ctx, "node1", "", "network", "rotate", "--remove", "4", "--add", card, "-o", d.record); err != nil {
		return err
	}
	for _, v := range committee[:3] {
		if _, err := d.run(ctx, v, "", "network", "sign", d.record); err != nil {
			return err
		}
	}
	for _, member := range []string{"node1", "validator5"} {
		if _, err := d.run(ctx, member, "", "network", "use", d.record); err != nil {
			return err
		}
	}
	fifth, err := d.net.Find("validator5")
	if err != nil {
		return err
	}
	if err := d.net.Restart(ctx, fifth, d.net.Program); err != nil {
		return err
	}
	if d.on[fifth.Name], err = connect(ctx, fifth); err != nil {
		return err
	}
	for name, n := range d.on {
		if err := until(ctx, name+" follows the new record", func() (bool, error) {
			s, err := n.Status(ctx)
			return err == nil && s.Version == 2 && s.Healthy, err
		}); err != nil {
			return err
		}
	}
	return nil
}

// meanwhile has a member read again and again while do runs, and once after. No read
// may fail.
func (d *demo) meanwhile(ctx context.Context, who string, do func() error) (reads int, err error) {
	const often = 100 * time.Millisecond
	done := make(chan error, 1)
	go func() { done <- do() }()
	tick := time.NewTicker(often)
	defer tick.Stop()
	for running := true; ; reads++ {
		if _, err := d.read(who)(ctx); err != nil {
			err = fmt.Errorf("read %d, while the committee changed: %w", reads+1, err)
			if running {
				err = errors.Join(err, <-done)
			}
			return reads, err
		}
		if !running {
			return reads + 1, nil
		}
		select {
		case err := <-done:
			if running = false; err != nil {
				return reads, err
			}
		case <-tick.C:
		}
	}
}

// readFromFifth reads until the newcomer has released a share of a key that was
// split before it came.
func (d *demo) readFromFifth(ctx context.Context) (report, error) {
	const place = 4 // which it took over
	var r report
	err := until(ctx, "the fifth validator released a share", func() (bool, error) {
		var err error
		if r, err = d.read("node2")(ctx); err != nil {
			return false, err
		}
		released, _ := r.facts["releases"].([]int)
		return slices.Contains(released, place), nil
	})
	return r, err
}

// oldSharesGone waits until no validator, the one that left included, has a share
// that was dealt to the committee before.
func (d *demo) oldSharesGone(ctx context.Context) (report, error) {
	for _, v := range append([]string{"validator4"}, committee...) {
		if err := until(ctx, v+" has no share of the old committee", func() (bool, error) {
			s, err := d.on[v].Status(ctx)
			return err == nil && s.Settled, err
		}); err != nil {
			return report{}, err
		}
	}
	return say("at all five, so that one stolen later fits none stolen before"), nil
}

// adoptPolicy copies a bundle out as an operator would, has three validators sign
// it, and waits until all follow it.
func (d *demo) adoptPolicy(ctx context.Context) (report, error) {
	files, err := bundles.Folder("hospital")
	if err != nil {
		return report{}, err
	}
	text, err := fs.ReadFile(files, "policies.cedar")
	if err != nil {
		return report{}, err
	}
	folder, file := filepath.Join(d.tmp, "hospital"), filepath.Join(d.tmp, "hospital.policy")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return report{}, err
	}
	if err := os.WriteFile(filepath.Join(folder, "policies.cedar"), text, 0o600); err != nil {
		return report{}, err
	}
	p, err := d.on["validator1"].PolicyPropose(ctx, api.ProposeRequest{Path: folder})
	for i := 0; err == nil; i++ {
		if err = os.WriteFile(file, p.Content, 0o600); err != nil || i == p.Of {
			break
		}
		p, err = d.on[committee[i]].PolicySign(ctx, api.SignPolicyRequest{Path: file})
	}
	if err != nil {
		return report{}, err
	}
	a, err := d.on["validator1"].PolicyAdopt(ctx, api.AdoptRequest{Path: file})
	if err != nil {
		return report{}, err
	}
	for _, v := range committee {
		if err := until(ctx, v+" follows the policy", func() (bool, error) {
			now, err := d.on[v].Policy(ctx, api.PolicyRequest{})
			return err == nil && now.Head == a.Head, err
		}); err != nil {
			return report{}, err
		}
	}
	return say("version %d, signed by validators %s", a.Version, joined(p.Signed)).with("version", a.Version).with("head", a.Head), nil
}

func (d *demo) refusedByPolicy(ctx context.Context) (report, error) {
	_, _, err := d.get(ctx, "node2", d.address)
	f := fault.Of(err)
	if err == nil || f.Exit != fault.Denied || !strings.Contains(f.Message, "denied by policy") {
		return report{}, errors.Join(fault.New(fault.Failed, "", "policy should have refused the read"), err)
	}
	return say("(exit code %d) %s\n%s", f.Exit, f.Message, f.Hint).with("exit", f.Exit), nil
}

const role = "clinician"

func (d *demo) giveRoles(ctx context.Context) (report, error) {
	for _, who := range []string{"node2", "node3", "node4"} {
		if err := d.giveRole(ctx, who); err != nil {
			return report{}, err
		}
	}
	return say("%s", role).with("role", role), nil
}

// giveRole has people at two validators ask for the same role, where one is not
// enough, and checks that K validators keep it.
func (d *demo) giveRole(ctx context.Context, who string) error {
	l, err := d.on["validator1"].RoleAssign(ctx, api.RoleRequest{To: d.contact[who], Role: role, Seconds: 3600})
	if err != nil {
		return err
	}
	if len(l.Roles) == 1 && l.Roles[0].State == "waits" {
		if _, err := d.on["validator2"].Decide(ctx, api.DecideRequest{ID: l.Roles[0].ID, Approve: true}); err != nil {
			return err
		}
	}
	kept := 0
	for _, v := range committee {
		l, err := d.on[v].RoleList(ctx, api.RoleRequest{To: d.contact[who]})
		if err != nil {
			return err
		}
		if slices.ContainsFunc(l.Roles, func(r api.Role) bool { return r.Role == role && r.State == "valid" }) {
			kept++
		}
	}
	if kept < 3 {
		return fault.New(fault.Failed, "", "only %d validators keep the role", kept)
	}
	return nil
}

func (d *demo) rekey(ctx context.Context) (report, error) {
	k, err := d.on["node1"].Rekey(ctx, api.RekeyRequest{Address: d.address})
	if err != nil {
		return report{}, err
	}
	if !k.Retired || !k.Erased || k.Address == d.address {
		return report{}, fault.New(fault.Failed, "", "the old version is not retired, or its key is left: %s", k.Kept)
	}
	d.older, d.address = d.address, k.Address
	return say("%s\n%d of %d validators hold a share", k.Address, k.Deposits.Acknowledged, k.Deposits.Of).
		with("address", k.Address).with("acknowledged", k.Deposits.Acknowledged), nil
}

func (d *demo) oldIsGone(ctx context.Context) (report, error) {
	var said string
	for _, who := range []string{"node2", "node1"} {
		_, out, err := d.get(ctx, who, d.older)
		if err == nil {
			os.Remove(out)
			return report{}, fault.New(fault.Failed, "", "%s read a version whose key was erased", who)
		}
		f := fault.Of(err)
		if f.Exit != fault.Denied {
			return report{}, err
		}
		said = f.Message
	}
	return say("(exit code %d) %s", fault.Denied, said).with("exit", fault.Denied), nil
}

// erase orders the keys destroyed and checks the receipts with nothing but a
// network file; with a receipt less the check must fail.
func (d *demo) erase(ctx context.Context) (report, error) {
	r, err := d.on["node1"].Erase(ctx, api.EraseRequest{Address: d.address, Reason: "the demo's last act"})
	if err != nil {
		return report{}, err
	}
	if !r.Erased || len(r.Orders) == 0 {
		return report{}, fault.New(fault.Failed, "", "too few validators have destroyed their shares")
	}
	raw, err := os.ReadFile(d.record)
	if err != nil {
		return report{}, err
	}
	file, err := home.DecodeNetwork(raw)
	if err != nil {
		return report{}, err
	}
	chain, err := file.Chain()
	if err != nil {
		return report{}, err
	}
	keys := 0
	for _, o := range r.Orders {
		order := revocation.Entry{Statement: o.Statement, Identity: o.Identity}
		b, err := revocation.CheckErased(order, r.Receipts, chain)
		if err != nil {
			return report{}, fault.Wrap(fault.Integrity, err, "", "the receipts")
		}
		keys += len(b.Keys)
		if _, err := revocation.CheckErased(order, r.Receipts[:1], chain); err == nil {
			return report{}, fault.New(fault.Integrity, "", "one receipt passes for enough")
		}
	}
	return say("validators %s destroyed their shares of %d keys, and signed for it: %d receipts", joined(r.Validators), keys, len(r.Receipts)).
		with("validators", r.Validators).with("keys", keys).with("receipts", len(r.Receipts)), nil
}
