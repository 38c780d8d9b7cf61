package validator_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// askRole asks a validator for its signature under a role, as another one.
func (w *world) askRole(t *testing.T, at, as int, s *statement.Statement) (r validator.RoleReply, err error) {
	t.Helper()
	raw, err := w.Validators[at].AnswerRole(t.Context(), w.as(as), encode(t, validator.RoleRequest{Role: s.Bytes()}))
	if err != nil {
		return r, err
	}
	if err := statement.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	return r, nil
}

// newRole is a new assignment of the role to Bob.
func (w *world) newRole(t *testing.T, role string) *statement.Statement {
	t.Helper()
	return roleStatement(t, w.Assignment(w.bob, role))
}

func roleStatement(t *testing.T, a policy.Assignment) *statement.Statement {
	t.Helper()
	s, err := policy.DraftRole(a)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// One validator that was broken into asks all the others for a role, again and
// again, and gets no signature but its own; one honest person who asks for the
// same gets them all.
func TestOneValidatorGivesNoRole(t *testing.T) {
	w := newWorld(t, vt.Options{})
	const thief, honest = 3, 1
	s := w.newRole(t, "emergency")
	for i := range 3 {
		for range 3 {
			if r, err := w.askRole(t, i, thief, s); err != nil || !r.Pending || r.Kept || len(r.Role) > 0 {
				t.Fatalf("validator %d answers the thief with %+v, %v", i+1, r, err)
			}
		}
		w.Validators[i].Judge = restarted(t, w.Validators[i]) // who has asked is on disk
		if r, err := w.askRole(t, i, thief, s); err != nil || !r.Pending {
			t.Fatalf("after a restart, validator %d answers the thief with %+v, %v", i+1, r, err)
		}
	}
	// Another statement for the same person is another one: asks do not add up.
	if r, err := w.askRole(t, 0, honest, w.newRole(t, "emergency")); err != nil || !r.Pending {
		t.Errorf("two askers of two statements: %+v, %v", r, err)
	}
	for i := range 3 {
		r, err := w.askRole(t, i, honest, s)
		if err != nil || r.Pending {
			t.Fatalf("validator %d answers the second asker with %+v, %v", i+1, r, err)
		}
		signed, err := statement.Parse(r.Role)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Merge(signed); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := w.askRole(t, 0, honest, s); err != nil || !r.Kept {
		t.Errorf("with K signatures: %+v, %v", r, err)
	}
	if got := w.Validators[0].Roles.Roles(w.bob.ID(), w.Clock.Now()); !slices.Equal(got, []string{"emergency"}) {
		t.Errorf("roles %v", got)
	}
	if waits, err := w.Validators[0].RoleAsks(); err != nil || len(waits) != 1 || waits[0].ID == s.ID() {
		t.Errorf("what was given still waits: %+v, %v", waits, err)
	}
	// A draft that came late finds it kept, and puts nothing on the desk.
	late, err := policy.DraftRole(assignmentOf(t, s))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := w.askRole(t, 0, thief, late); err != nil || !r.Kept {
		t.Errorf("asked again once it is given: %+v, %v", r, err)
	}
}

func assignmentOf(t *testing.T, s *statement.Statement) (a policy.Assignment) {
	t.Helper()
	if err := s.Peek(policy.KindRole, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// Without a validator that may be faulty one person is enough, and a removal
// takes one everywhere: it opens nothing.
func TestWhenOneAskerIsEnough(t *testing.T) {
	alone := newWorld(t, vt.Options{N: 1})
	if f := alone.Committee.Numbers.F; f != 0 {
		t.Fatalf("F is %d", f)
	}
	if r, err := alone.askRole(t, 0, 0, alone.newRole(t, "clinician")); err != nil || r.Pending || len(r.Role) == 0 {
		t.Errorf("F=0: %+v, %v", r, err)
	}
	w := newWorld(t, vt.Options{})
	given := w.Assignment(w.bob, "clinician")
	removal := given.Removal(w.newRole(t, "clinician").ID())
	if r, err := w.askRole(t, 0, 1, roleStatement(t, removal)); err != nil || r.Pending || len(r.Role) == 0 {
		t.Errorf("a removal: %+v, %v", r, err)
	}
	if r, err := w.askRole(t, 0, 1, w.newRole(t, "clinician")); err != nil || !r.Pending { // control
		t.Errorf("an assignment: %+v, %v", r, err)
	}
}

func TestAPersonReadsAndRefusesARole(t *testing.T) {
	w := newWorld(t, vt.Options{})
	v, s := w.Validators[0], w.newRole(t, "emergency")
	if _, err := v.RoleDraft(s.ID()); err != validator.ErrNotWaiting {
		t.Errorf("before anybody asked: %v", err)
	}
	if r, err := w.askRole(t, 0, 2, s); err != nil || !r.Pending {
		t.Fatalf("%+v, %v", r, err)
	}
	waits, err := v.RoleAsks()
	if err != nil || len(waits) != 1 {
		t.Fatalf("%+v, %v", waits, err)
	}
	if g := waits[0]; g.ID != s.ID() || g.Assignment.Role != "emergency" || g.Assignment.Identity != w.bob.ID() || g.Need != 2 || !slices.Equal(g.Askers, []int{2}) {
		t.Errorf("waiting: %+v", g)
	}
	draft, err := v.RoleDraft(s.ID())
	if err != nil || draft.ID() != s.ID() || len(draft.Signers()) > 0 {
		t.Errorf("the draft: %v", err)
	}
	if e := lastEvent(t, v); e.Action != event.Role || e.Outcome != event.Pending {
		t.Errorf("the log ends with %+v", e)
	}
	wantErr(t, v.RefuseRole(t.Context(), s.ID(), ""), validator.ErrMalformed)
	wantErr(t, v.RefuseRole(t.Context(), statement.Hash("another"), "no"), validator.ErrNotWaiting)
	wantErr(t, v.RefuseRole(t.Context(), s.ID(), "he left in May"), nil)
	wantErr(t, v.RefuseRole(t.Context(), s.ID(), "he left in May"), validator.ErrNotWaiting)
	v.Judge = restarted(t, v)
	_, err = w.askRole(t, 0, 1, s)
	wantErr(t, err, validator.ErrDenied)
	if r, err := w.askRole(t, 1, 2, s); err != nil || !r.Pending { // others decide for themselves
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := w.askRole(t, 1, 3, s); err != nil || len(r.Role) == 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A validator fills its own part of the desk; others find theirs empty.
func TestRolesThatWaitAreBounded(t *testing.T) {
	w := newWorld(t, vt.Options{})
	for i := range 64 {
		if r, err := w.askRole(t, 0, 3, w.newRole(t, fmt.Sprint("role-", i))); err != nil || !r.Pending {
			t.Fatalf("%d: %+v, %v", i, r, err)
		}
	}
	s := w.newRole(t, "one-more")
	_, err := w.askRole(t, 0, 3, s)
	wantErr(t, err, validator.ErrUnavailable)
	if r, err := w.askRole(t, 0, 1, s); err != nil || !r.Pending { // control: another validator
		t.Errorf("%+v, %v", r, err)
	}
	w.Clock.Advance(24 * time.Hour) // roles of a day leave with it
	w.Hear(t)
	if waits, err := w.Validators[0].RoleAsks(); err != nil || len(waits) != 0 {
		t.Errorf("a day later %d wait, %v", len(waits), err)
	}
}

// What could not be written down was not asked: the second asker is not the last.
func TestAnAskThatIsNotDurableDoesNotCount(t *testing.T) {
	for name, breaks := range map[string]func(*vt.Validator){
		"the disk is full": func(v *vt.Validator) { v.Judge.Store = &failing{v.Memory, true} },
		"the log is full":  func(v *vt.Validator) { v.Judge.Audit = full{} },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, vt.Options{})
			v, s := w.Validators[0], w.newRole(t, "emergency")
			breaks(v)
			_, err := w.askRole(t, 0, 3, s)
			wantErr(t, err, validator.ErrUnavailable)
			v.Judge.Audit, v.Judge.Store = v.Audit, v.Memory
			if r, err := w.askRole(t, 0, 1, s); err != nil || !r.Pending {
				t.Errorf("%+v, %v", r, err)
			}
			if r, err := w.askRole(t, 0, 3, s); err != nil || len(r.Role) == 0 { // control
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}
