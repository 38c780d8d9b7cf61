package quorum

import (
	"context"
	"errors"
	"fmt"

	"cerebrum.dev/cerebrum/acl/validator"
)

// Judge has a validator's judge answer a request that came by a method over a
// connection. Its errors are those of package validator.
func Judge(ctx context.Context, j *validator.Judge, m Method, c validator.Conn, raw []byte) ([]byte, error) {
	switch m {
	case Deposit:
		return j.Deposit(ctx, c, raw)
	case Sign:
		return j.Sign(ctx, c, raw)
	case Deliver:
		return nil, j.Deliver(ctx, raw)
	case Mailbox:
		return j.Mailbox(ctx, c, raw)
	case Release:
		return j.Release(ctx, c, raw)
	case Newest:
		return j.Latest(ctx, c, raw)
	case Revoke:
		return j.Revoke(ctx, c, raw)
	case Erase:
		return j.Erase(ctx, c, raw)
	case Hold:
		return j.Hold(ctx, c, raw)
	case Keep:
		return j.Keep(ctx, raw)
	case Identity:
		return j.Identity(ctx, c, raw)
	case Fresh:
		return j.AnswerFresh(raw)
	case Tail:
		return j.AnswerTail(raw)
	case Role:
		return j.AnswerRole(ctx, c, raw)
	case Consent:
		return j.Consent(ctx, raw)
	case Consents:
		return j.Consents(ctx, c, raw)
	case Bundle:
		return j.AnswerBundle(ctx, c, raw)
	case Seen:
		return j.AnswerSeen(raw)
	case Carry:
		return j.Carry(ctx, c, raw)
	case Proof:
		return j.Proof(ctx, raw)
	}
	return nil, validator.ErrMalformed
}

// Unwired turns a judge's error into what a [Transport] returns, where no connection
// lies between the two.
func Unwired(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, validator.ErrDenied):
		return fmt.Errorf("%w: %w", ErrDenied, err)
	case errors.Is(err, validator.ErrMalformed):
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}
