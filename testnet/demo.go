package testnet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/cli"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/testnet/localnet"
	"github.com/spf13/cobra"
)

func printJSON(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }

func demoCommand(e *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "demo [FILE]", Short: "The whole story on this machine, told step by step", Args: cobra.MaximumNArgs(1),
		Long: `Start a committee of four validators and four nodes as processes of this machine,
and share FILE (or a file that it makes) among them: refused, granted, delegated,
revoked, rekeyed and erased, while a validator is replaced and a policy changes. At
the end a stranger audits it offline. Everything is removed at the end. The exit code is 0 only if every step did what
it should.`,
		RunE: func(c *cobra.Command, args []string) error {
			file := ""
			if len(args) > 0 {
				file = args[0]
			}
			return runDemo(c.Context(), e, file)
		},
	}
}

// demo is one run of the story.
type demo struct {
	e   *cli.Env
	tmp string
	net *localnet.Network
	on  map[string]node

	file  string
	size  int64
	sum   [32]byte
	limit float64 // bytes a second of SHA-256 on one core
	began time.Time

	address, older string // of the newest version, and of the one before
	grant, link    string // Ada's to Ben, and Ben's to Cleo
	record         string // file of the renewed committee record
	bundle         string // file of an exported log
	contact        map[string]string
}

// purpose is what everybody in the story reads for.
const purpose = "treatment"

// report is what a step has to say.
type report struct {
	text  string         // for people
	facts map[string]any // for --json
}

func say(format string, a ...any) report { return report{text: fmt.Sprintf(format, a...)} }

func (r report) with(key string, v any) report {
	if r.facts == nil {
		r.facts = map[string]any{}
	}
	r.facts[key] = v
	return r
}

type step struct {
	name, title string
	do          func(context.Context) (report, error)
}

func runDemo(ctx context.Context, e *cli.Env, file string) (err error) {
	d := &demo{e: e, on: map[string]node{}, contact: map[string]string{}, began: time.Now()}
	if d.tmp, err = os.MkdirTemp("", "cerebrum-demo-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.clean(context.WithoutCancel(ctx))) }()
	if d.file = file; file != "" {
		if d.file, err = filepath.Abs(file); err != nil {
			return err
		}
	}
	for _, s := range d.story() {
		at := time.Now()
		r, err := s.do(ctx)
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		d.tell(s, r, time.Since(at), err)
		if err != nil {
			f := fault.Of(err)
			return fault.New(max(f.Exit, fault.Failed), f.Hint, "the demo failed at %q: %s", s.title, f.Message)
		}
	}
	if !e.JSON {
		fmt.Fprintf(e.Out, "\nAll of it took %.1f s. Nothing is left behind.\n", time.Since(d.began).Seconds())
	}
	return nil
}

// clean stops what the demo started and removes what it made.
func (d *demo) clean(ctx context.Context) error {
	var errs []error
	if d.net != nil {
		errs = append(errs, d.net.Stop(ctx))
	}
	return errors.Join(append(errs, os.RemoveAll(d.tmp))...)
}

func (d *demo) tell(s step, r report, took time.Duration, err error) {
	ms := float64(took.Microseconds()) / 1000
	if d.e.JSON {
		line := map[string]any{"step": s.name, "ok": err == nil, "ms": ms}
		for k, v := range r.facts {
			line[k] = v
		}
		if err != nil {
			line["error"] = err.Error()
		}
		printJSON(d.e.Out, line)
		return
	}
	mark := "ok"
	if err != nil {
		mark = "FAILED"
	}
	fmt.Fprintf(d.e.Out, "%-6s %8.0f ms  %s\n", mark, ms, s.title)
	for _, l := range strings.Split(r.text, "\n") {
		if l != "" && !d.e.Quiet {
			fmt.Fprintf(d.e.Out, "                    %s\n", l)
		}
	}
}

func (d *demo) story() []step {
	ben, cleo, dan := d.read("node2"), d.read("node3"), d.read("node4")
	return []step{
		{"file", "A file to share", d.makeFile},
		{"committee", "Four validators found a network; four people join it with their nodes", d.found},
		{"start", "Eight processes start, connect over TLS 1.3 and QUIC, and admit one another", d.start},
		{"add", "Ada adds the file: encrypted first, then stored, its key split among the validators", d.add},
		{"refused", "Ben asks for it and is refused", d.refused("node2", "nobody granted him anything")},
		{"grant", "Ada grants Ben to read for treatment and to delegate, for an hour", d.giveGrant},
		{"read", "Ben reads it", ben},
		{"delegate", "Ben hands a narrower grant on to Cleo, for half an hour", d.delegate},
		{"narrow", "A wider one is refused", d.wider},
		{"delegated-read", "Cleo reads it", cleo},
		{"delegate-on", "Cleo hands on to Dan what is left: to read, for ten minutes", d.delegateOn},
		{"delegated-twice-read", "Dan reads it", dan},
		{"validator-lost", "A validator is killed, and nothing changes: Dan reads it again", d.lose},
		{"validator-back", "It is started again", d.back},
		{"rotate", "A fifth takes the place of the fourth, and gets shares of keys that nobody puts together", d.rotate},
		{"rotated-read", "Ben reads what was added before, the fifth validator among those who release", d.readFromFifth},
		{"rotated", "The shares of the old committee are destroyed", d.oldSharesGone},
		{"policy", "Three validators sign a hospital's policy, and all adopt it", d.adoptPolicy},
		{"policy-refused", "Ben's grant is not enough any more", d.refusedByPolicy},
		{"role", "The validators give Ben, Cleo and Dan a role, for an hour", d.giveRoles},
		{"role-read", "Ben reads it", ben},
		{"role-delegated-read", "Dan reads it", dan},
		{"revoke", "Ben revokes what he gave to Cleo", d.revoke},
		{"revoked", "Cleo is refused", d.refused("node3", "the grant was revoked")},
		{"revoked-below", "So is Dan, whose grant hung on hers", d.refused("node4", "the grant above it was revoked")},
		{"revoked-not-above", "Ben reads it still", ben},
		{"rekey", "Ada makes a new version under a new key; the old key is erased", d.rekey},
		{"rekeyed-read", "Ben reads the new one with the grant that he has", ben},
		{"rekeyed-old", "The old one opens for nobody, not for Ada either", d.oldIsGone},
		{"erase", "Ada erases the object, and the receipts are checked without the network", d.erase},
		{"erased", "Ben is refused, whose grant is still good", d.refused("node2", "there is no key any more")},
		{"erased-owner", "So is Ada", d.refused("node1", "her own wrap of the key is gone too")},
		{"audit-export", "A validator exports its log for an auditor", d.exportLog},
		{"audit", "All processes end, and every member's log of what it decided is intact", d.audit},
		{"audit-verify", "A stranger verifies the export, who has the file and the network's id and nothing else", d.verifyLog},
		{"audit-tampered", "One bit of it is flipped, and it is refused", d.verifyTampered},
	}
}

const demoSize = 8 << 20

// makeFile makes a file where none was named, and measures SHA-256 over it: the
// machine's own limit, beside which the other speeds stand.
func (d *demo) makeFile(context.Context) (report, error) {
	if d.file == "" {
		d.file = filepath.Join(d.tmp, "research-data.bin")
		if err := randomFile(d.file, demoSize); err != nil {
			return report{}, err
		}
	}
	var err error
	var took time.Duration
	if d.size, d.sum, took, err = sumFile(d.file); err != nil {
		return report{}, fault.Wrap(fault.Failed, err, "name a file that you may read", "the file to share")
	}
	d.limit = float64(d.size) / took.Seconds()
	return say("%s, %s (one core hashes %s)", filepath.Base(d.file), size64(d.size), rate(d.limit)).
		with("size", d.size).with("sha256_bytes_per_second", d.limit), nil
}

func (d *demo) found(context.Context) (report, error) {
	s := size{validators: 4, nodes: 4, faults: -1}
	n, err := localnet.Create(localnet.Plan{Dir: filepath.Join(d.tmp, "net"), Nodes: s.nodes, Numbers: s.numbers(), Log: "info", Now: d.e.Now})
	if err != nil {
		return report{}, err
	}
	d.net = n
	m := s.numbers()
	return say("network %s\n%d of %d sign a grant, %d shares open a key, %d may lie or be lost", n.ID, m.K, m.N, m.T, m.F).
		with("network", n.ID), nil
}

func (d *demo) start(ctx context.Context) (report, error) {
	bin, err := program()
	if err != nil {
		return report{}, err
	}
	if err := d.net.Start(ctx, bin); err != nil {
		return report{}, err
	}
	for _, p := range d.net.Processes {
		n, err := connect(ctx, p)
		if err != nil {
			return report{}, err
		}
		d.on[p.Name] = n
		d.contact[p.Name] = n.contact
	}
	return say("all healthy").with("processes", len(d.net.Processes)), nil
}

func (d *demo) add(ctx context.Context) (report, error) {
	a, err := d.on["node1"].Add(ctx, api.AddRequest{Path: d.file})
	if err != nil {
		return report{}, err
	}
	d.address = a.Address
	if a.State != "shared" {
		return report{}, fault.New(fault.Unavailable, "", "only %d of %d validators took their share", a.Deposits.Acknowledged, a.Deposits.Of)
	}
	speed := float64(d.size) / a.Seconds
	return say("%s\n%d of %d validators hold a share; %s (%.2f of SHA-256)", a.Address, a.Deposits.Acknowledged, a.Deposits.Of, rate(speed), speed/d.limit).
		with("address", a.Address).with("acknowledged", a.Deposits.Acknowledged).with("bytes_per_second", speed).with("of_sha256", speed/d.limit), nil
}

// refused expects a read to be denied and to leave nothing.
func (d *demo) refused(who, why string) func(context.Context) (report, error) {
	return func(ctx context.Context) (report, error) {
		_, out, err := d.get(ctx, who, d.address)
		if err == nil {
			os.Remove(out)
			return report{}, fault.New(fault.Failed, "", "the read should have been refused and was not")
		}
		f := fault.Of(err)
		if f.Exit != fault.Denied {
			return report{}, err
		}
		return say("%s (exit code %d): %s", why, f.Exit, f.Message).with("exit", f.Exit), nil
	}
}

func (d *demo) giveGrant(ctx context.Context) (report, error) {
	g, err := d.on["node1"].Grant(ctx, api.GrantRequest{Address: d.address, To: d.contact["node2"], Can: "read,delegate", Seconds: 3600, Purposes: []string{purpose}, Depth: 2})
	if err != nil {
		return report{}, err
	}
	d.grant = g.Grant
	return say("%s\nAda consents, %d validators sign, until %s", g.Grant, g.Signatures, g.Expires).
		with("grant", g.Grant).with("signatures", g.Signatures), nil
}

// read expects the bytes to be those that were added.
func (d *demo) read(who string) func(context.Context) (report, error) {
	return func(ctx context.Context) (report, error) {
		got, out, err := d.get(ctx, who, d.address)
		if err != nil {
			return report{}, err
		}
		defer os.Remove(out)
		n, sum, _, err := sumFile(out)
		if err != nil {
			return report{}, err
		}
		if n != d.size || sum != d.sum {
			return report{}, fault.New(fault.Integrity, "", "the bytes differ")
		}
		speed := float64(n) / got.Seconds
		return say("byte for byte; validators %s released, %s (%.2f of SHA-256)", joined(got.Releases), rate(speed), speed/d.limit).
			with("releases", got.Releases).with("from", got.From).with("bytes_per_second", speed).with("of_sha256", speed/d.limit), nil
	}
}

func (d *demo) get(ctx context.Context, who, address string) (*api.Got, string, error) {
	out := filepath.Join(d.tmp, who+".out")
	f, err := os.OpenFile(out, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, out, err
	}
	f.Close()
	got, err := d.on[who].Get(ctx, api.GetRequest{Address: address, Into: out, Purpose: purpose})
	if err != nil {
		os.Remove(out)
	}
	return got, out, err
}

func (d *demo) delegate(ctx context.Context) (report, error) {
	g, err := d.on["node2"].Delegate(ctx, api.GrantRequest{Parent: d.grant, To: d.contact["node3"], Can: "read,delegate", Seconds: 1800, Depth: 1})
	if err != nil {
		return report{}, err
	}
	d.link = g.Grant
	return say("%s\nBen signs alone; it stands on Ada's consent and the validators' signatures", g.Grant).with("grant", g.Grant), nil
}

func (d *demo) delegateOn(ctx context.Context) (report, error) {
	g, err := d.on["node3"].Delegate(ctx, api.GrantRequest{Parent: d.link, To: d.contact["node4"], Can: "read", Seconds: 600})
	if err != nil {
		return report{}, err
	}
	return say("%s\ntwo links below Ada's grant", g.Grant).with("grant", g.Grant), nil
}

func (d *demo) wider(ctx context.Context) (report, error) {
	_, err := d.on["node2"].Delegate(ctx, api.GrantRequest{Parent: d.grant, To: d.contact["node3"], Can: "read,audit", Seconds: 1800})
	if err == nil {
		return report{}, fault.New(fault.Failed, "", "a delegation wider than its grant was made")
	}
	if f := fault.Of(err); f.Exit == fault.Denied {
		return say("%s", f.Message).with("exit", f.Exit), nil
	}
	return report{}, err
}

func (d *demo) lose(ctx context.Context) (report, error) {
	p, err := d.net.Find("validator4")
	if err != nil {
		return report{}, err
	}
	if err := d.net.Kill(ctx, p); err != nil {
		return report{}, err
	}
	return d.read("node4")(ctx)
}

func (d *demo) back(ctx context.Context) (report, error) {
	p, err := d.net.Find("validator4")
	if err != nil {
		return report{}, err
	}
	if err := d.net.Restart(ctx, p, d.net.Program); err != nil {
		return report{}, err
	}
	if d.on[p.Name], err = connect(ctx, p); err != nil {
		return report{}, err
	}
	return say("healthy, which it is not before it has heard from the others"), nil
}

func (d *demo) revoke(ctx context.Context) (report, error) {
	r, err := d.on["node2"].Revoke(ctx, api.RevokeRequest{Grant: d.link, Reason: "she has left"})
	if err != nil {
		return report{}, err
	}
	return say("%d validators acknowledged: no key is released for it any more\nciphertext stopped at %d of %d known holders", r.Acks, r.HoldersStopped, r.HoldersKnown).
		with("acks", r.Acks).with("holders_stopped", r.HoldersStopped).with("holders_known", r.HoldersKnown), nil
}
