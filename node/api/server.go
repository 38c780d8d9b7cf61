package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/node/fault"
)

// Names of the protocol.
const (
	RequestHeader = "Cerebrum-Request"
	ResultTrailer = "Cerebrum-Result"
	maxRequest    = 1 << 20
)

// Server answers on a unix socket.
type Server struct {
	Limits Limits // set before Run

	service Service
	log     *slog.Logger
}

// NewServer makes a server; it listens in [Server.Run].
func NewServer(s Service, log *slog.Logger) *Server { return &Server{service: s, log: log} }

// Listen makes the socket, readable and writable for its owner alone. A socket
// that a killed process left is replaced; the caller holds the home's lock.
func Listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Run serves until ctx ends, then lets requests under way finish for up to five
// seconds and cuts off the rest, which is no error. When it returns no request
// is being worked on.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var working sync.WaitGroup
	limits := s.Limits.withDefaults()
	routes := limits.paced(s.routes(ctx, limits))
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			working.Add(1)
			defer working.Done()
			routes.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: limits.Read, IdleTimeout: idleTime, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), BaseContext: func(net.Listener) context.Context { return base },
		ConnContext: withCarrier,
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(carrying{l}) }() // ends with Shutdown or Close below
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	grace, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stop()
	err := srv.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("requests that did not end in time are cut off")
		err = nil
	}
	cancel()
	srv.Close()
	<-failed
	working.Wait()
	return err
}

// routes are the verbs; those that go on by themselves end with ending.
func (s *Server) routes(ending context.Context, l Limits) http.Handler {
	m := http.NewServeMux()
	v := s.service
	verb(m, "status", func(ctx context.Context, _ struct{}) (*Status, error) { return v.Status(ctx) })
	verb(m, "peers", func(ctx context.Context, _ struct{}) (*Peers, error) { return v.Peers(ctx) })
	verb(m, "usage", func(ctx context.Context, _ struct{}) (*Usage, error) { return v.Usage(ctx) })
	verb(m, "add", v.Add)
	verb(m, "get", v.Get)
	verb(m, "rekey", v.Rekey)
	verb(m, "progress", v.Progress)
	verb(m, "list", func(ctx context.Context, _ struct{}) (*Objects, error) { return v.List(ctx) })
	verb(m, "info", v.Info)
	verb(m, "verify", v.Verify)
	verb(m, "export", v.Export)
	verb(m, "import", v.Import)
	verb(m, "grant", v.Grant)
	verb(m, "delegate", v.Delegate)
	verb(m, "accept", v.Accept)
	verb(m, "grants", v.Grants)
	verb(m, "grant-show", v.GrantShow)
	verb(m, "revoke", v.Revoke)
	verb(m, "consent", v.Consent)
	verb(m, "consents", v.Consents)
	verb(m, "request", v.Request)
	verb(m, "enrol", v.Enrol)
	verb(m, "adopt-identity", v.AdoptIdentity)
	verb(m, "devices", v.Devices)
	verb(m, "add-device", v.AddDevice)
	verb(m, "remove-device", v.RemoveDevice)
	verb(m, "recover", v.Recover)
	verb(m, "network", func(ctx context.Context, _ struct{}) (*NetworkFile, error) { return v.Network(ctx) })
	verb(m, "adopt", v.Adopt)
	verb(m, "permit", v.Permit)
	deskVerbs(m, v)
	verb(m, "invite", v.Invite)
	verb(m, "invitations", func(ctx context.Context, _ struct{}) (*Invitations, error) { return v.Invitations(ctx) })
	verb(m, "uninvite", v.Uninvite)
	verb(m, "remove-member", v.RemoveMember)
	mirrorVerbs(m, v)
	keepVerbs(m, v)
	turns := make(chan struct{}, l.Streams)
	auditVerbs(ending, turns, m, v)
	complianceVerbs(m, v)
	verb(m, "erase", v.Erase)
	verb(m, "hold", v.Hold)
	verb(m, "unhold", v.Unhold)
	verb(m, "holds", func(ctx context.Context, _ struct{}) (*Holds, error) { return v.Holds(ctx) })
	m.HandleFunc("POST /v1/add-stream", streaming(turns, s.addStream))
	m.HandleFunc("POST /v1/get-stream", streaming(turns, s.getStream))
	verb(m, "get-handed", s.getHanded)
	return m
}

func mirrorVerbs(m *http.ServeMux, v Mirrors) {
	verb(m, "mirror", v.Mirror)
	verb(m, "unmirror", v.Unmirror)
	verb(m, "mirrored", func(ctx context.Context, _ struct{}) (*MirrorList, error) { return v.Mirrored(ctx) })
	verb(m, "mirror-check", v.MirrorCheck)
	verb(m, "mirror-offer", v.MirrorOffer)
	verb(m, "replicate", v.Replicate)
	verb(m, "unreplicate", v.Unreplicate)
	verb(m, "replicas", func(ctx context.Context, _ struct{}) (*Replicas, error) { return v.Replicas(ctx) })
}

func deskVerbs(m *http.ServeMux, v Desk) {
	verb(m, "pending", func(ctx context.Context, _ struct{}) (*PendingGrants, error) { return v.Pending(ctx) })
	verb(m, "decide", v.Decide)
	verb(m, "policy", v.Policy)
	verb(m, "policy-propose", v.PolicyPropose)
	verb(m, "policy-sign", v.PolicySign)
	verb(m, "policy-adopt", v.PolicyAdopt)
	verb(m, "policy-simulate", v.PolicySimulate)
	verb(m, "role-assign", v.RoleAssign)
	verb(m, "role-revoke", v.RoleRevoke)
	verb(m, "role-list", v.RoleList)
}

// verb routes one method. Requests are small and read whole; a request with
// unknown fields comes from another version and is refused.
func verb[Q, A any](m *http.ServeMux, name string, do func(context.Context, Q) (*A, error)) {
	m.HandleFunc("POST /v1/"+name, func(w http.ResponseWriter, r *http.Request) {
		var q Q
		if err := decodeBody(w, r, &q); err != nil {
			refuse(w, err)
			return
		}
		a, err := do(r.Context(), q)
		if err != nil {
			refuse(w, fault.Of(err))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(a) // the client is gone if this fails
	})
}

// refuse answers with a fault. The exit code is in the body; the status is for
// people with curl.
func refuse(w http.ResponseWriter, f *fault.Error) {
	status := map[int]int{
		fault.Usage: 400, fault.Denied: 403, fault.NotFound: 404, fault.Unavailable: 503, fault.Integrity: 502,
	}[f.Exit]
	if status == 0 {
		status = 500
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(f)
}

func (s *Server) addStream(w http.ResponseWriter, r *http.Request) {
	var q AddRequest
	if err := decodeHeader(r, &q); err != nil {
		refuse(w, err)
		return
	}
	http.NewResponseController(w).SetReadDeadline(time.Time{})
	a, err := s.service.AddStream(r.Context(), q, r.Body)
	if err != nil {
		refuse(w, fault.Of(err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(a)
}

// result is what the trailer of a stream holds: one of the two.
type result struct {
	Got   *Got         `json:"got,omitempty"`
	Fault *fault.Error `json:"fault,omitempty"`
}

func (s *Server) getStream(w http.ResponseWriter, r *http.Request) {
	var q GetRequest
	if err := decodeBody(w, r, &q); err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Trailer", ResultTrailer)
	w.Header().Set("Content-Type", "application/octet-stream")
	var res result
	out := &started{w: unpaced(w)}
	got, err := s.service.GetStream(r.Context(), q, out)
	if err != nil && !out.yes {
		w.Header().Del("Trailer")
		refuse(w, fault.Of(err))
		return
	}
	if res.Got = got; err != nil {
		res = result{Fault: fault.Of(err)}
	}
	raw, err := json.Marshal(res)
	if err != nil {
		s.log.Error("result", "err", err)
		return
	}
	w.Header().Set(ResultTrailer, base64.StdEncoding.EncodeToString(raw))
}

// getHanded writes into the open file that came with the request.
func (s *Server) getHanded(ctx context.Context, q GetRequest) (*Got, error) {
	f, err := handedOver(ctx)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, "use the cerebrum of the same version as the node", "the request does not decode")
	}
	defer f.Close()
	return s.service.GetStream(ctx, q, f)
}

// started knows whether anything was written.
type started struct {
	w   io.Writer
	yes bool
}

func (s *started) Write(p []byte) (int, error) {
	s.yes = true
	return s.w.Write(p)
}

func decodeHeader(r *http.Request, q any) *fault.Error {
	return decode(base64.NewDecoder(base64.StdEncoding, strings.NewReader(r.Header.Get(RequestHeader))), q)
}

// decode reads one JSON value and nothing after it. Unknown fields are refused:
// they come from another version and would be lost without a word.
func decode(r io.Reader, q any) *fault.Error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	err := d.Decode(q)
	if err == nil {
		if _, err = d.Token(); err == io.EOF {
			return nil
		} else if err == nil {
			err = errors.New("something follows it")
		}
	}
	return fault.Wrap(fault.Usage, err, "use the cerebrum of the same version as the node", "the request does not decode")
}

// DecodeResult reads the trailer of a stream.
func DecodeResult(trailer string) (*Got, error) {
	var res result
	raw, err := base64.StdEncoding.DecodeString(trailer)
	if err == nil {
		err = json.Unmarshal(raw, &res)
	}
	switch {
	case err != nil || (res.Got == nil) == (res.Fault == nil) || res.Fault != nil && (res.Fault.Exit == fault.OK || res.Fault.Message == ""):
		return nil, fmt.Errorf("the node ended in the middle of its answer")
	case res.Fault != nil:
		return nil, res.Fault
	}
	return res.Got, nil
}
