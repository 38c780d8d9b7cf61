package validator_test

import (
	"slices"
	"testing"

	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// A role reaches a validator that nobody sent it to, and so does its end: both
// travel in the logs.
func TestRolesTravelInTheLogs(t *testing.T) {
	w := newWorld(t, vt.Options{})
	away := w.Validators[3]
	has := func() bool { return slices.Contains(away.Book.Roles(w.bob.ID(), w.Clock.Now()), "clinician") }
	tell := func(s *statement.Statement) {
		t.Helper()
		for i := range 3 {
			s.AddSignature(uint16(i), w.Validators[i].Judge.Signing)
		}
		raw, err := w.Validators[0].AnswerRole(t.Context(), validator.Conn{}, encode(t, validator.RoleRequest{Role: s.Bytes()}))
		var r validator.RoleReply
		if err != nil || statement.Unmarshal(raw, &r) != nil || !r.Kept {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	hear := func() {
		t.Helper()
		w.Hear(t)
		if err := away.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	a := w.Assignment(w.bob, "clinician")
	given := roleStatement(t, a)
	tell(given)
	if has() {
		t.Fatal("control: it knows before it hears")
	}
	hear()
	if !has() {
		t.Fatal("it does not learn of the role")
	}
	tell(roleStatement(t, a.Removal(given.ID())))
	if !has() {
		t.Fatal("control: it knows before it hears")
	}
	hear()
	if has() {
		t.Error("it does not learn that the role was taken away")
	}
}

// A log that brings a role with too few signatures brings nothing.
func TestAForgedRoleInALog(t *testing.T) {
	w := newWorld(t, vt.Options{})
	s := w.newRole(t, "clinician")
	s.AddSignature(0, w.Validators[0].Judge.Signing)
	verify := validator.Kinds()[policy.KindRole]
	if _, err := verify(revocation.Entry{Statement: s.Bytes()}, w.Chain); err == nil {
		t.Error("one validator's role is taken")
	}
	s.AddSignature(1, w.Validators[1].Judge.Signing)
	s.AddSignature(2, w.Validators[2].Judge.Signing)
	if _, err := verify(revocation.Entry{Statement: s.Bytes(), Identity: w.bob.Record()}, w.Chain); err == nil {
		t.Error("a role with somebody's record is taken")
	}
	if _, err := verify(revocation.Entry{Statement: s.Bytes()}, w.Chain); err != nil { // control
		t.Error(err)
	}
}
