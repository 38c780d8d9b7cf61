// Package fault is how an error reaches a person: one sentence that names the
// thing, a next step, and the exit code of the command line's contract.
//
// Packages below this one return their own errors; the workflows in node turn
// them into faults once, where it is known what the person was doing.
package fault

import (
	"context"
	"errors"
	"fmt"
)

// Exit codes of the command line.
const (
	OK          = 0
	Failed      = 1
	Usage       = 2
	Denied      = 3 // capability, policy, revoked, not admitted
	NotFound    = 4
	Unavailable = 5 // quorum or peer
	Integrity   = 6 // corrupt, forged, tampered
)

// Error is a fault. It never holds a secret.
type Error struct {
	Exit    int    `json:"exit"`
	Message string `json:"message"`        // one sentence, no full stop
	Hint    string `json:"hint,omitempty"` // a next step
	cause   error
}

// Error is the sentence without the hint.
func (e *Error) Error() string { return e.Message }

// Unwrap is what caused it, inside the process only.
func (e *Error) Unwrap() error { return e.cause }

// New makes a fault. What is quoted in it may come from elsewhere: it is made one line
// of bounded length.
func New(exit int, hint, format string, a ...any) *Error {
	return &Error{Exit: exit, Hint: sentence(hint), Message: sentence(fmt.Sprintf(format, a...))}
}

// Wrap makes a fault of a cause whose text becomes part of the sentence.
func Wrap(exit int, cause error, hint, format string, a ...any) *Error {
	return &Error{Exit: exit, Hint: sentence(hint), Message: sentence(fmt.Sprintf(format, a...) + ": " + cause.Error()), cause: cause}
}

// Because names what caused a fault whose sentence says it in other words.
func (e *Error) Because(cause error) *Error {
	e.cause = cause
	return e
}

// Of finds the fault in an error, or makes the plainest one. It is never nil: for a
// nil error its Exit is [OK], so that an exit code can be read off whatever came back.
// Return the error itself and not Of(err) where nothing may have failed: an error that
// holds a *Error is not nil.
func Of(err error) *Error {
	var f *Error
	switch {
	case err == nil:
		return &Error{Exit: OK, Message: "nothing failed"}
	case errors.As(err, &f):
		if f == nil { // a nil *Error in an error: a mistake of the caller, and no success
			return &Error{Exit: Failed, Message: "it failed and does not say why"}
		}
		return f
	case errors.Is(err, context.Canceled):
		return &Error{Exit: Failed, Message: "interrupted", cause: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Exit: Unavailable, Message: "nobody answered in time", Hint: "see `cerebrum status` and `cerebrum peers`", cause: err}
	}
	return &Error{Exit: Failed, Message: sentence(err.Error()), cause: err}
}
